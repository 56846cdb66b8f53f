//! Workloads with a room of 1,000 members.

use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use tokio::time::Instant;

use super::Setting;
use crate::{
    control::{Command, Outcome, Pace},
    counter::{Member, Room},
    figures::Figures,
    subject::Subject,
};

const MEMBERS: usize = 1_000;
const MESSAGE: usize = 128;

pub async fn steady<C: Subject>(setting: &Setting) -> Result<Figures> {
    deliveries::<C>(setting, Pace::Steady).await
}

pub async fn burst<C: Subject>(setting: &Setting) -> Result<Figures> {
    deliveries::<C>(setting, Pace::Burst).await
}

async fn deliveries<C: Subject>(setting: &Setting, pace: Pace) -> Result<Figures> {
    let room = Room::new(MEMBERS, 0);
    let _members = join::<C>(setting, &room).await?;
    let mut control = setting.control().await?;
    let (warm_up, messages) = (100, setting.scaled(1_000));
    room.expect(warm_up);
    control.execute(&Command::Broadcast { messages: warm_up, size: MESSAGE, pace }).await?;
    room.complete(1).await;

    room.expect(warm_up + messages);
    let (started, cpu) = (Instant::now(), setting.server.cpu()?);
    control.execute(&Command::Broadcast { messages, size: MESSAGE, pace }).await?;
    room.complete(2).await;
    let (elapsed, cpu) = (started.elapsed(), setting.server.cpu()?.saturating_sub(cpu));
    let deliveries = messages as f64 * MEMBERS as f64;
    Ok(Figures::default()
        .with("deliveries/s", deliveries / elapsed.as_secs_f64())
        .with("server CPU s/million", cpu.as_secs_f64() * 1e6 / deliveries)
        .with("complete after ms", elapsed.as_secs_f64() * 1e3))
}

pub async fn fixed_rate<C: Subject>(setting: &Setting) -> Result<Figures> {
    const PER_SECOND: u32 = 60;
    let messages = setting.scaled(300) + u64::from(PER_SECOND);
    let room = Room::new(MEMBERS, usize::try_from(messages)?);
    let _members = join::<C>(setting, &room).await?;
    room.expect(messages);
    let pace = Pace::PerSecond(PER_SECOND);
    setting.control().await?.execute(&Command::Broadcast { messages, size: MESSAGE, pace }).await?;
    room.complete(1).await;
    // The messages of the first second are the warm-up, so the result does not contain them.
    Ok(Figures::default().with_percentiles(room.take_delays().split_off(PER_SECOND as usize)))
}

pub async fn request<C: Subject>(setting: &Setting) -> Result<Figures> {
    let room = Room::new(MEMBERS, 0);
    let _members = join::<C>(setting, &room).await?;
    let mut control = setting.control().await?;
    let requests = setting.scaled(200);
    control.execute(&Command::BroadcastRequests(requests / 10)).await?;
    let cpu = setting.server.cpu()?;
    let Outcome::Replies { replies, seconds } = control.execute(&Command::BroadcastRequests(requests)).await? else {
        bail!("the server returned no count of replies");
    };
    ensure!(replies == requests * MEMBERS as u64, "{replies} replies to {requests} requests");
    let cpu = setting.server.cpu()?.saturating_sub(cpu);
    Ok(Figures::default()
        .with("replies/s", replies as f64 / seconds)
        .with("server CPU s/million", cpu.as_secs_f64() * 1e6 / replies as f64))
}

async fn join<C: Subject>(setting: &Setting, room: &Arc<Room>) -> Result<Vec<C::Client>> {
    let mut members = Vec::new();
    for _ in 0..MEMBERS {
        let client = C::connect(setting.address, Member::new(room)).await?;
        C::join(&client).await?;
        members.push(client);
    }
    Ok(members)
}

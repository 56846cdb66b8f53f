//! Many connections: idle, new, or quiet beside a busy one.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{Setting, calls::nanoseconds};
use crate::{
    contestant::{Contestant, Stop},
    figures::Figures,
    payload::Order,
};

/// What a process has open beside its connections.
const OTHER_FILES: u64 = 100;
const AT_ONCE: u64 = 64;
const QUIET: u64 = 1_000;
const BUSY_DEPTH: usize = 512;
/// A quiet connection waits so long between two calls, more or less.
const SILENCE: Duration = Duration::from_millis(500);

pub async fn idle<C: Contestant>(setting: &Setting, connections: u64) -> Result<Figures> {
    let (allowed, _) = rlimit::Resource::NOFILE.get()?;
    ensure!(allowed >= connections + OTHER_FILES, "only {allowed} files may be open");
    // The first connections bring what the server needs once.
    let mut clients = connect_at_once::<C>(setting, AT_ONCE).await?;
    let before = settled_memory(setting).await?;
    for _ in 0..connections / AT_ONCE {
        clients.extend(connect_at_once::<C>(setting, AT_ONCE).await?);
    }
    let more = settled_memory(setting).await?.saturating_sub(before);
    Ok(Figures::default().with("bytes/connection", more as f64 / (connections / AT_ONCE * AT_ONCE) as f64))
}

async fn settled_memory(setting: &Setting) -> Result<u64> {
    sleep(Duration::from_millis(500)).await;
    setting.server.memory()
}

pub async fn connect<C: Contestant>(setting: &Setting) -> Result<Figures> {
    let connections = setting.scaled(1_000);
    connect_at_once::<C>(setting, AT_ONCE).await?;
    let started = Instant::now();
    for id in 0..connections {
        connect_and_call::<C>(setting, id).await?;
    }
    let sequential = connections as f64 / started.elapsed().as_secs_f64();

    let rounds = setting.scaled(30);
    let started = Instant::now();
    for _ in 0..rounds {
        connect_at_once::<C>(setting, AT_ONCE).await?;
    }
    let at_once = (rounds * AT_ONCE) as f64 / started.elapsed().as_secs_f64();
    Ok(Figures::default().with("connections/s", sequential).with("connections/s, 64 at once", at_once))
}

async fn connect_at_once<C: Contestant>(setting: &Setting, connections: u64) -> Result<Vec<C::Client>> {
    let mut connecting = JoinSet::new();
    for id in 0..connections {
        let setting = setting.clone();
        connecting.spawn(async move { connect_and_call::<C>(&setting, id).await });
    }
    let mut clients = Vec::new();
    while let Some(client) = connecting.join_next().await {
        clients.push(client??);
    }
    Ok(clients)
}

async fn connect_and_call<C: Contestant>(setting: &Setting, id: u64) -> Result<C::Client> {
    let client = setting.connect::<C>().await?;
    ensure!(C::echo(&client, Order::new(id)).await?.id == id, "the reply to another call");
    Ok(client)
}

pub async fn quiet<C: Contestant>(setting: &Setting) -> Result<Figures> {
    let stop = Stop::default();
    let busy = setting.connect::<C>().await?;
    let mut quiet = JoinSet::new();
    for client in connect_at_once::<C>(setting, QUIET).await? {
        let stop = stop.clone();
        quiet.spawn(async move {
            let mut times = Vec::new();
            sleep(SILENCE.mul_f64(fastrand::f64())).await;
            while !stop.is_set() {
                let started = Instant::now();
                C::echo(&client, Order::new(0)).await?;
                times.push(nanoseconds(started.elapsed()));
                sleep(SILENCE.mul_f64(0.5 + fastrand::f64())).await;
            }
            anyhow::Ok(times)
        });
    }
    let started = Instant::now();
    let busy = tokio::spawn(C::pipeline(busy, BUSY_DEPTH, stop.clone()));
    sleep(Duration::from_millis(setting.scaled(3_000))).await;
    stop.now();
    let calls = busy.await??;
    let elapsed = started.elapsed();
    let mut times = Vec::new();
    while let Some(connection) = quiet.join_next().await {
        times.extend(connection??);
    }
    Ok(Figures::default().with_percentiles(times).with("busy one's calls/s", calls as f64 / elapsed.as_secs_f64()))
}

//! Workloads with calls and emits on busy connections.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::Setting;
use crate::{
    control::Command,
    figures::Figures,
    payload::Order,
    subject::{Stop, Subject},
};

const CONNECTIONS: usize = 64;
const IN_FLIGHT: usize = 16;
const MEBIBYTE: usize = 1 << 20;

pub async fn latency<C: Subject>(setting: &Setting) -> Result<Figures> {
    let client = setting.connect::<C>().await?;
    let calls = setting.scaled(20_000);
    let mut times = Vec::new();
    for id in 0..calls + calls / 10 {
        let order = Order::new(id);
        let started = Instant::now();
        let reply = C::echo(&client, order).await?;
        times.push(nanoseconds(started.elapsed()));
        ensure!(reply == Order::new(id), "the reply does not match the call");
    }
    // The result does not contain the calls of the warm-up.
    Ok(Figures::default().with_percentiles(times.split_off(usize::try_from(calls / 10)?)))
}

pub async fn pipeline<C: Subject>(setting: &Setting, depth: usize) -> Result<Figures> {
    let client = setting.connect::<C>().await?;
    calls_per_second::<C>(&[client], depth, setting).await
}

pub async fn fan_in<C: Subject>(setting: &Setting) -> Result<Figures> {
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(setting.connect::<C>().await?);
    }
    calls_per_second::<C>(&clients, IN_FLIGHT, setting).await
}

/// Measures the rate of calls after a warm-up.
async fn calls_per_second<C: Subject>(clients: &[C::Client], depth: usize, setting: &Setting) -> Result<Figures> {
    calls_within::<C>(clients, depth, Duration::from_millis(setting.scaled(300))).await?;
    let (started, cpu) = (Instant::now(), setting.server.cpu()?);
    let calls = calls_within::<C>(clients, depth, Duration::from_millis(setting.scaled(1_500))).await?;
    let (elapsed, cpu) = (started.elapsed(), setting.server.cpu()?.saturating_sub(cpu));
    Ok(Figures::default()
        .with("calls/s", calls as f64 / elapsed.as_secs_f64())
        .with("server CPU s/million", cpu.as_secs_f64() * 1e6 / calls as f64))
}

async fn calls_within<C: Subject>(clients: &[C::Client], depth: usize, time: Duration) -> Result<u64> {
    let stop = Stop::default();
    let mut pipelines: JoinSet<_> =
        clients.iter().map(|client| C::pipeline(client.clone(), depth, stop.clone())).collect();
    sleep(time).await;
    stop.set();
    let mut calls = 0;
    while let Some(pipeline) = pipelines.join_next().await {
        calls += pipeline??;
    }
    Ok(calls)
}

pub async fn emit<C: Subject>(setting: &Setting) -> Result<Figures> {
    let client = setting.connect::<C>().await?;
    let mut control = setting.control().await?;
    let emits = setting.scaled(1_000_000);
    C::emit(&client, emits / 10).await?;
    control.execute(&Command::Emits(emits / 10)).await?;
    let (started, cpu) = (Instant::now(), setting.server.cpu()?);
    C::emit(&client, emits).await?;
    control.execute(&Command::Emits(emits / 10 + emits)).await?;
    let (elapsed, cpu) = (started.elapsed(), setting.server.cpu()?.saturating_sub(cpu));
    Ok(Figures::default()
        .with("emits/s", emits as f64 / elapsed.as_secs_f64())
        .with("server CPU s/million", cpu.as_secs_f64() * 1e6 / emits as f64))
}

pub async fn large<C: Subject>(setting: &Setting) -> Result<Figures> {
    let client = setting.connect::<C>().await?;
    let data: Bytes = (0..=250).cycle().take(MEBIBYTE).collect();
    let calls = setting.scaled(500);
    let mut started = Instant::now();
    for call in 0..calls + calls / 10 {
        if call == calls / 10 {
            started = Instant::now();
        }
        let reply = C::large(&client, data.clone()).await?;
        ensure!(reply.len() == MEBIBYTE && reply[MEBIBYTE - 1] == data[MEBIBYTE - 1], "the returned bytes differ");
    }
    // The result includes the bytes of the call and the bytes of the reply.
    let megabytes = calls as f64 * 2.0 * MEBIBYTE as f64 / 1e6;
    Ok(Figures::default().with("MB/s", megabytes / started.elapsed().as_secs_f64()))
}

pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

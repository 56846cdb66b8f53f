//! Workloads with many connections. Depending on the workload, the connections are idle, are new,
//! or have little load while another connection is busy.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{Setting, calls::nanoseconds};
use crate::{
    figures::Figures,
    payload::Order,
    subject::{Stop, Subject},
};

/// The number of open files that are not connections.
const OTHER_FILES: u64 = 100;
const CONCURRENT: u64 = 64;
const LIGHT_CONNECTIONS: u64 = 1_000;
const BUSY_DEPTH: usize = 512;
/// The mean pause between two calls of a connection that has little load.
const MEAN_PAUSE: Duration = Duration::from_millis(500);

pub async fn idle<C: Subject>(setting: &Setting, connections: u64) -> Result<Figures> {
    let (allowed, _) = rlimit::Resource::NOFILE.get()?;
    ensure!(allowed >= connections + OTHER_FILES, "the limit of open files is {allowed}; raise it with `ulimit -n`");
    // The first connections cause the initial allocations of the server, so they are not counted.
    let mut clients = connect_concurrently::<C>(setting, CONCURRENT).await?;
    let before = settled_memory(setting).await?;
    for _ in 0..connections / CONCURRENT {
        clients.extend(connect_concurrently::<C>(setting, CONCURRENT).await?);
    }
    let growth = settled_memory(setting).await?.saturating_sub(before);
    Ok(Figures::default().with("bytes/connection", growth as f64 / (connections / CONCURRENT * CONCURRENT) as f64))
}

async fn settled_memory(setting: &Setting) -> Result<u64> {
    sleep(Duration::from_millis(500)).await;
    setting.server.memory()
}

pub async fn connect<C: Subject>(setting: &Setting) -> Result<Figures> {
    let connections = setting.scaled(1_000);
    connect_concurrently::<C>(setting, CONCURRENT).await?;
    let started = Instant::now();
    for id in 0..connections {
        connect_and_call::<C>(setting, id).await?;
    }
    let sequential = connections as f64 / started.elapsed().as_secs_f64();

    let rounds = setting.scaled(30);
    let started = Instant::now();
    for _ in 0..rounds {
        connect_concurrently::<C>(setting, CONCURRENT).await?;
    }
    let concurrent = (rounds * CONCURRENT) as f64 / started.elapsed().as_secs_f64();
    Ok(Figures::default().with("connections/s", sequential).with("connections/s, 64 concurrent", concurrent))
}

async fn connect_concurrently<C: Subject>(setting: &Setting, connections: u64) -> Result<Vec<C::Client>> {
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

async fn connect_and_call<C: Subject>(setting: &Setting, id: u64) -> Result<C::Client> {
    let client = setting.connect::<C>().await?;
    ensure!(C::echo(&client, Order::new(id)).await?.id == id, "the reply does not match the call");
    Ok(client)
}

pub async fn background_load<C: Subject>(setting: &Setting) -> Result<Figures> {
    let stop = Stop::default();
    let busy = setting.connect::<C>().await?;
    let mut light = JoinSet::new();
    for client in connect_concurrently::<C>(setting, LIGHT_CONNECTIONS).await? {
        let stop = stop.clone();
        light.spawn(async move {
            let mut times = Vec::new();
            sleep(MEAN_PAUSE.mul_f64(fastrand::f64())).await;
            while !stop.is_set() {
                let started = Instant::now();
                C::echo(&client, Order::new(0)).await?;
                times.push(nanoseconds(started.elapsed()));
                sleep(MEAN_PAUSE.mul_f64(0.5 + fastrand::f64())).await;
            }
            anyhow::Ok(times)
        });
    }
    let started = Instant::now();
    let busy = tokio::spawn(C::pipeline(busy, BUSY_DEPTH, stop.clone()));
    sleep(Duration::from_millis(setting.scaled(3_000))).await;
    stop.set();
    let calls = busy.await??;
    let elapsed = started.elapsed();
    let mut times = Vec::new();
    while let Some(connection) = light.join_next().await {
        times.extend(connection??);
    }
    Ok(Figures::default()
        .with_percentiles(times)
        .with("calls/s of the busy connection", calls as f64 / elapsed.as_secs_f64()))
}

//! What is measured, the same for every contestant. The client's process runs it and prints figures.

mod broadcast;
mod calls;
mod connections;

use std::net::SocketAddr;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use crate::{
    contestant::Contestant,
    control::Control,
    counter::{Member, Room},
    figures::Figures,
    usage::Process,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// One connection, one call in flight.
    Latency,
    /// One connection, 64 calls in flight.
    #[value(name = "pipeline-64")]
    #[serde(rename = "pipeline-64")]
    Pipeline64,
    /// One connection, 512 calls in flight.
    #[value(name = "pipeline-512")]
    #[serde(rename = "pipeline-512")]
    Pipeline512,
    /// 64 connections with 16 calls in flight each.
    FanIn,
    /// One connection, a million emits.
    Emit,
    /// A room of 1,000, 1,000 messages of 128 bytes, the emitter yielding after each.
    BroadcastSteady,
    /// The same in one burst.
    BroadcastBurst,
    /// A room of 1,000, 60 messages a second.
    Paced,
    /// Questions to a room of 1,000, one after another.
    Ask,
    /// 5,000 connections that have made one call.
    #[value(name = "idle-5000")]
    #[serde(rename = "idle-5000")]
    Idle5000,
    /// 15,000 of them.
    #[value(name = "idle-15000")]
    #[serde(rename = "idle-15000")]
    Idle15000,
    /// 1 MiB each way, one call after another.
    Large,
    /// Set-up and first call, one after another and 64 at once.
    Connect,
    /// One connection with 512 calls in flight beside 1,000 that make one now and then.
    Quiet,
}

impl Workload {
    /// As on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
    }
}

/// Where a client's process finds its server, and how thorough it should be.
#[derive(Clone)]
pub struct Setting {
    pub address: SocketAddr,
    pub control: SocketAddr,
    pub server: Process,
    /// A tenth of the usual time.
    pub quick: bool,
}

impl Setting {
    /// Of a number of calls, messages or milliseconds, how many.
    fn scaled(&self, usual: u64) -> u64 {
        if self.quick { usual.div_ceil(10) } else { usual }
    }

    async fn control(&self) -> Result<Control> {
        Control::connect(self.control).await
    }

    /// Connections that belong to no room.
    async fn connect<C: Contestant>(&self) -> Result<C::Client> {
        C::connect(self.address, Member::new(&Room::new(1, 0))).await
    }
}

pub async fn run<C: Contestant>(workload: Workload, setting: Setting) -> Result<Figures> {
    match workload {
        Workload::Latency => calls::latency::<C>(&setting).await,
        Workload::Pipeline64 => calls::pipeline::<C>(&setting, 64).await,
        Workload::Pipeline512 => calls::pipeline::<C>(&setting, 512).await,
        Workload::FanIn => calls::fan_in::<C>(&setting).await,
        Workload::Emit => calls::emit::<C>(&setting).await,
        Workload::Large => calls::large::<C>(&setting).await,
        Workload::BroadcastSteady => broadcast::steady::<C>(&setting).await,
        Workload::BroadcastBurst => broadcast::burst::<C>(&setting).await,
        Workload::Paced => broadcast::paced::<C>(&setting).await,
        Workload::Ask => broadcast::ask::<C>(&setting).await,
        Workload::Idle5000 => connections::idle::<C>(&setting, 5_000).await,
        Workload::Idle15000 => connections::idle::<C>(&setting, 15_000).await,
        Workload::Connect => connections::connect::<C>(&setting).await,
        Workload::Quiet => connections::quiet::<C>(&setting).await,
    }
}

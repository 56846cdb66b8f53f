//! The workloads, which are the same for all subjects. The client's process runs a workload and
//! prints the figures.

mod broadcast;
mod calls;
mod connections;

use std::net::SocketAddr;

use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

use crate::{
    control::Control,
    counter::{Member, Room},
    figures::Figures,
    subject::Subject,
    usage::Process,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// A workload with a single connection that has a single call in flight.
    Latency,
    /// A workload with a single connection that has 64 calls in flight.
    #[value(name = "pipeline-64")]
    #[serde(rename = "pipeline-64")]
    Pipeline64,
    /// A workload with a single connection that has 512 calls in flight.
    #[value(name = "pipeline-512")]
    #[serde(rename = "pipeline-512")]
    Pipeline512,
    /// A workload with 64 connections that have 16 calls in flight each.
    FanIn,
    /// A workload with a single connection that sends a million emits.
    Emit,
    /// A workload with a room of 1,000 members. The emitter sends 1,000 messages of 128 bytes, and
    /// yields after each message.
    BroadcastSteady,
    /// The same workload as `BroadcastSteady`, but the emitter does not yield.
    BroadcastBurst,
    /// A workload with a room of 1,000 members. The emitter sends 60 messages each second.
    FixedRate,
    /// A workload that sends sequential requests to a room of 1,000 members.
    BroadcastRequest,
    /// A workload with 5,000 connections. Each connection has made a call and is idle.
    #[value(name = "idle-5000")]
    #[serde(rename = "idle-5000")]
    Idle5000,
    /// A workload with 15,000 connections. Each connection has made a call and is idle.
    #[value(name = "idle-15000")]
    #[serde(rename = "idle-15000")]
    Idle15000,
    /// A workload with sequential calls that transfer 1 MiB in each direction.
    Large,
    /// A workload that opens connections and makes a single call on each connection. The workload
    /// first opens connections one after another, and then 64 connections concurrently.
    Connect,
    /// A workload with 1,000 connections that make occasional calls. At the same time, another
    /// connection has 512 calls in flight.
    BackgroundLoad,
}

impl Workload {
    /// Returns the name of the workload on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().into())
    }
}

/// The addresses of the server, and the extent of a workload.
#[derive(Clone)]
pub struct Setting {
    pub address: SocketAddr,
    pub control: SocketAddr,
    pub server: Process,
    /// `true` if the workload takes only a tenth of the usual time.
    pub quick: bool,
}

impl Setting {
    /// Scales a number of calls, messages or milliseconds to the extent of the workload.
    fn scaled(&self, usual: u64) -> u64 {
        if self.quick { usual.div_ceil(10) } else { usual }
    }

    async fn control(&self) -> Result<Control> {
        Control::connect(self.control).await
    }

    /// Opens a connection that does not join the room.
    async fn connect<C: Subject>(&self) -> Result<C::Client> {
        C::connect(self.address, Member::new(&Room::new(1, 0))).await
    }
}

pub async fn run<C: Subject>(workload: Workload, setting: Setting) -> Result<Figures> {
    match workload {
        Workload::Latency => calls::latency::<C>(&setting).await,
        Workload::Pipeline64 => calls::pipeline::<C>(&setting, 64).await,
        Workload::Pipeline512 => calls::pipeline::<C>(&setting, 512).await,
        Workload::FanIn => calls::fan_in::<C>(&setting).await,
        Workload::Emit => calls::emit::<C>(&setting).await,
        Workload::Large => calls::large::<C>(&setting).await,
        Workload::BroadcastSteady => broadcast::steady::<C>(&setting).await,
        Workload::BroadcastBurst => broadcast::burst::<C>(&setting).await,
        Workload::FixedRate => broadcast::fixed_rate::<C>(&setting).await,
        Workload::BroadcastRequest => broadcast::request::<C>(&setting).await,
        Workload::Idle5000 => connections::idle::<C>(&setting, 5_000).await,
        Workload::Idle15000 => connections::idle::<C>(&setting, 15_000).await,
        Workload::Connect => connections::connect::<C>(&setting).await,
        Workload::BackgroundLoad => connections::background_load::<C>(&setting).await,
    }
}

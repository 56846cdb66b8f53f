//! A soak. Many clients act at random over faulty connections. At the end, all counts must
//! nevertheless be consistent.

mod client;
mod process;
mod server;
mod tally;

use std::{sync::Arc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

use self::client::RandomClient;
pub use self::{
    process::Footprint,
    tally::{Count, Tally},
};
use crate::{Conditions, Relay, eventually};

/// The size and the duration of a soak.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The number of clients that run at the same time.
    pub clients: usize,
    /// The duration of both halves together. After each half, all clients leave.
    pub time: Duration,
    /// The average pause of a client between two of its actions.
    pub pause: Duration,
    /// The number of relays to the server. Each relay has its own conditions.
    pub relays: usize,
    /// The time between two faults.
    pub fault_every: Duration,
}

/// The result of a soak.
#[derive(Debug)]
pub struct Report {
    /// The counts of both peers.
    pub tally: Arc<Tally>,
    /// The number of faults.
    pub faults: u32,
    /// The resources in use after the first half.
    pub before: Footprint,
    /// The resources in use after the second half.
    pub after: Footprint,
}

/// Runs a soak.
///
/// # Panics
///
/// Panics if the counts are inconsistent, or if tasks or files are left.
pub async fn run(plan: Plan) -> Report {
    let tally = Arc::new(Tally::default());
    let server = server::start(&tally).await;
    let mut relays = Vec::new();
    for _ in 0..plan.relays {
        relays.push(Arc::new(Relay::to(server.local_addr()).await));
    }
    // The process may allocate some memory once and keep it until its end. The first half of the
    // soak causes these allocations, so that they do not count as growth during the second half.
    let half = Plan { time: plan.time / 2, ..plan };
    let mut faults = run_half(half, &relays, &server, &tally).await;
    let before = wait_until_idle(&server).await;
    faults += run_half(half, &relays, &server, &tally).await;
    let after = wait_until_idle(&server).await;
    tally.check();
    assert!(after.tasks <= before.tasks, "tasks are left: {before:?}, {after:?}");
    assert!(after.files <= before.files, "files are left open: {before:?}, {after:?}");
    Report { tally, faults, before, after }
}

/// Runs all clients, and injects faults. Waits until all clients have ended, and returns the number
/// of faults.
async fn run_half(plan: Plan, relays: &[Arc<Relay>], server: &server::Server, tally: &Arc<Tally>) -> u32 {
    let (stop, until) = (CancellationToken::new(), Instant::now() + plan.time);
    let mut tasks = JoinSet::new();
    for number in 0..plan.clients {
        let relay = Arc::clone(&relays[number % relays.len()]);
        tasks.spawn(RandomClient::new(number, relay, Arc::clone(tally), plan.pause).run(stop.clone()));
    }
    tasks.spawn(server::broadcast(server.clone(), Arc::clone(tally), stop.clone()));
    let mut faults = 0;
    while Instant::now() + plan.fault_every < until {
        sleep(plan.fault_every).await;
        inject_fault(&relays[fastrand::usize(..relays.len())]);
        faults += 1;
    }
    sleep_until(until).await;
    for relay in relays {
        relay.set(Conditions::default());
        relay.cut();
    }
    stop.cancel();
    let ended = timeout(Duration::from_secs(60), async {
        while let Some(task) = tasks.join_next().await {
            task.expect("no client and no broadcaster panics");
        }
    });
    ended.await.expect("all clients end in time");
    faults
}

/// Changes the conditions of a relay at random.
fn inject_fault(relay: &Relay) {
    let conditions = match fastrand::u8(..6) {
        0 | 1 => return relay.cut(),
        2 => Conditions { frozen: true, ..Conditions::default() },
        3 => Conditions { delay: Duration::from_millis(20), ..Conditions::default() },
        4 => Conditions { bytewise: true, ..Conditions::default() },
        _ => Conditions::default(),
    };
    relay.set(conditions);
}

/// Waits until the server has no sockets, and measures the resources in use.
async fn wait_until_idle(server: &server::Server) -> Footprint {
    eventually("the server has no sockets and no rooms", || server.sockets().is_empty() && server.rooms().is_empty())
        .await;
    let mut now = Footprint::now();
    // After the server has removed the sockets, tasks end and files are closed shortly afterwards.
    for _ in 0..50 {
        sleep(Duration::from_millis(100)).await;
        let next = Footprint::now();
        if next.tasks >= now.tasks && next.files >= now.files {
            return next;
        }
        now = next;
    }
    now
}

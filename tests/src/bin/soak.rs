//! `soak [seconds [clients]]` runs a soak. By default, two thousand clients run for five minutes,
//! with a fault every second.
//!
//! The program prints the counts. It fails if more resources are in use after the second half than
//! after the first half.

use std::{env, error::Error, time::Duration};

use sockets_tests::soak::{Plan, run};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let seconds = arguments.next().map_or(Ok(300), |seconds| seconds.parse())?;
    let clients = arguments.next().map_or(Ok(2000), |clients| clients.parse())?;
    let plan = Plan {
        clients,
        time: Duration::from_secs(seconds),
        pause: Duration::from_secs(1),
        relays: 40,
        fault_every: Duration::from_secs(1),
    };
    println!("{plan:?}");
    let report = run(plan).await;
    println!("{report:#?}");
    let (before, after) = (report.before.memory, report.after.memory);
    if after > before + before / 10 {
        return Err(format!("memory grew from {before} KiB to {after} KiB, by more than a tenth").into());
    }
    Ok(())
}

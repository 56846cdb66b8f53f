//! Measures the effect of hostile peers on a server's memory and on the latency of honest clients.
//!
//! 20 clients make 500 calls a second together, before and during each attack.
//!
//! ```sh
//! cargo run --release -p sockets-tests --bin attacks                # medians of five runs, 15 minutes
//! cargo run --release -p sockets-tests --bin attacks -- --quick     # one run of each attack, three minutes
//! cargo run --release -p sockets-tests --bin attacks -- WebSocket   # the attacks with this word in their names
//! ```
//!
//! The server, the honest clients and the attacker are separate processes. A control run follows
//! each run. A control run has a control process instead of an attacker. The control process uses
//! as much processor time as the attacker and its handlers did, but does not connect to the server.
//!
//! The program fails if the server's memory grows by more than the sum of the applicable limits. It
//! also fails if the clients' 99th percentile is more than twice that of the control run. The
//! latencies of a single run are too noisy, so `--quick` checks only memory. Run the program on a
//! machine without other load.

#![allow(clippy::unwrap_used, reason = "a tool for contributors may panic with a message")]

mod attack;
mod clients;
mod control;
mod peer;
mod server;

use std::{
    env,
    io::read_to_string,
    process::{Child, Command, ExitCode, Stdio, exit},
    sync::atomic::Ordering,
    thread::{sleep, spawn},
    time::Duration,
};

use attack::{ATTACKS, Attack};
use clients::{Clients, Latency};
use server::Running;

/// The time for which an attack runs before the measurement, and again after the measurement.
const MARGIN: Duration = Duration::from_millis(300);
/// The time between the end of an attack and the measurement of the remaining memory.
const SETTLE: Duration = Duration::from_millis(700);
/// The maximum ratio of two 99th percentiles: during the attack, and during the control run.
const SLOWDOWN: f64 = 2.0;

/// The extent of a measurement.
#[derive(Clone, Copy)]
struct Plan {
    runs: usize,
    /// The duration of each measurement.
    time: Duration,
    /// The maximum duration of the program. After this time, the program fails.
    bound: Duration,
    /// `true` if the latencies are precise enough for a check.
    fails_on_latency: bool,
}

const FULL: Plan =
    Plan { runs: 5, time: Duration::from_millis(1500), bound: Duration::from_secs(40 * 60), fails_on_latency: true };
const QUICK: Plan =
    Plan { runs: 1, time: Duration::from_secs(1), bound: Duration::from_secs(5 * 60), fails_on_latency: false };

fn main() -> ExitCode {
    let args: Vec<_> = env::args().skip(1).collect();
    let millis = |text: &str| Duration::from_millis(text.parse().unwrap());
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["server", scheme] => server::run(scheme),
        ["attacker", name, address, time] => attack(name, address, millis(time)),
        ["control", busy, time, threads] => control::run(millis(busy), millis(time), threads.parse().unwrap()),
        [] => return measure(FULL, ""),
        ["--quick"] => return measure(QUICK, ""),
        ["--quick", word] => return measure(QUICK, word),
        [word] => return measure(FULL, word),
        _ => panic!("usage: attacks [--quick] [WORD]"),
    }
    ExitCode::SUCCESS
}

/// Runs the attack in this process. Prints the processor time of the process in milliseconds, and
/// the number of sent items.
fn attack(name: &str, address: &str, time: Duration) {
    let attack = ATTACKS.iter().find(|attack| attack.name == name).unwrap();
    attack.start(address.parse().unwrap());
    sleep(time);
    println!("{} {}", control::processor_time().as_millis(), peer::SENT.load(Ordering::Relaxed));
    exit(0);
}

fn measure(plan: Plan, word: &str) -> ExitCode {
    spawn(move || {
        sleep(plan.bound);
        eprintln!("not complete after {:?}", plan.bound);
        exit(1);
    });
    println!("memory in MiB; honest calls in ms, p50 / p99; medians of {} run(s)\n", plan.runs);
    println!(
        "| attack | sent/s | memory before | peak | after | growth allowed | alone | control | attack | p99, ratio |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let mut failures = Vec::new();
    for attack in ATTACKS.iter().filter(|attack| attack.name.contains(word)) {
        let outcome = Outcome::of(attack, plan);
        println!("{}", outcome.row(attack));
        if outcome.growth() > attack.limit() {
            failures.push(format!("{}: memory", attack.name));
        }
        if plan.fails_on_latency && outcome.slowdown() > SLOWDOWN {
            failures.push(format!("{}: latency", attack.name));
        }
    }
    if failures.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("\nexceeded: {}", failures.join(", "));
    ExitCode::FAILURE
}

/// The measured effect of an attack.
struct Outcome {
    sent_per_second: u64,
    /// The resident memory in KiB before the attack, at its peak, and after the attack. The values
    /// come from the run with the highest peak.
    memory: [u64; 3],
    alone: Latency,
    control: Latency,
    attack: Latency,
}

impl Outcome {
    fn of(attack: &Attack, plan: Plan) -> Self {
        let lifetime = plan.time + 2 * MARGIN;
        let (mut alone, mut during, mut control) = (Vec::new(), Vec::new(), Vec::new());
        let (mut memory, mut sent) = ([0; 3], 0);
        for _ in 0..plan.runs {
            let server = Running::start(attack.scheme);
            let clients = Clients::connect(&server);
            alone.push(clients.measure(plan.time));
            let (before, worked) = (server.memory(), clients.worked());
            let attacker =
                start(&["attacker", attack.name, &server.address.to_string(), &lifetime.as_millis().to_string()]);
            sleep(MARGIN);
            during.push(clients.measure(plan.time));
            let output = wait(attacker);
            let (busy, count) = output.split_once(' ').unwrap();
            sent = sent.max(count.parse().unwrap());
            let busy = busy.parse::<u64>().unwrap() + clients.worked() - worked;
            sleep(SETTLE);
            let peak = server.peak();
            if peak - before.min(peak) >= memory[1] - memory[0] {
                memory = [before, peak, server.memory()];
            }
            drop((clients, server));

            let server = Running::start(attack.scheme);
            let clients = Clients::connect(&server);
            let threads = attack.connections.max(2).to_string();
            let attacker = start(&["control", &busy.to_string(), &lifetime.as_millis().to_string(), &threads]);
            sleep(MARGIN);
            control.push(clients.measure(plan.time));
            wait(attacker);
        }
        Self {
            sent_per_second: sent * 1000 / u64::try_from(lifetime.as_millis()).unwrap(),
            memory,
            alone: Latency::median(&alone),
            control: Latency::median(&control),
            attack: Latency::median(&during),
        }
    }

    /// Returns the number of bytes by which the server's memory has grown.
    fn growth(&self) -> u64 {
        1024 * (self.memory[1] - self.memory[0])
    }

    fn slowdown(&self) -> f64 {
        self.attack.p99.as_secs_f64() / self.control.p99.as_secs_f64()
    }

    fn row(&self, attack: &Attack) -> String {
        let [before, peak, after] = self.memory.map(|kib| kib.div_ceil(1024));
        format!(
            "| {} | {} | {before} | {peak} | {after} | {} | {} | {} | {} | {:.1} |",
            attack.name,
            self.sent_per_second,
            attack.limit() >> 20,
            self.alone,
            self.control,
            self.attack,
            self.slowdown(),
        )
    }
}

fn start(arguments: &[&str]) -> Child {
    Command::new(env::current_exe().unwrap()).args(arguments).stdout(Stdio::piped()).spawn().unwrap()
}

/// Waits for a process, and returns its output.
fn wait(mut process: Child) -> String {
    let output = read_to_string(process.stdout.take().unwrap()).unwrap();
    process.wait().unwrap();
    output.trim().to_owned()
}

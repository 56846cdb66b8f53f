//! A control process for attackers. It uses the processor, but does not connect to the server.

use std::{
    fs,
    hint::spin_loop,
    thread,
    time::{Duration, Instant},
};

const PERIOD: Duration = Duration::from_millis(10);

/// Uses the processor for the duration `busy` in total. Distributes this processor time evenly over
/// the period `time` and over the threads.
pub(crate) fn run(busy: Duration, time: Duration, threads: u32) {
    let until = Instant::now() + time;
    let share = (busy.as_secs_f64() / time.as_secs_f64() / f64::from(threads)).min(1.0);
    let threads: Vec<_> = (0..threads)
        .map(|_| {
            thread::spawn(move || {
                while Instant::now() < until {
                    let period = Instant::now();
                    while period.elapsed() < PERIOD.mul_f64(share) {
                        spin_loop();
                    }
                    thread::sleep(PERIOD.saturating_sub(period.elapsed()));
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// Returns the processor time of this process.
pub(crate) fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the process is in parentheses and may contain spaces. Fields 14 and 15 are the
    // user time and the system time, in hundredths of a second.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    let hundredths: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(10 * hundredths)
}

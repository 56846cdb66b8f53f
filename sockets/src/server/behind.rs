//! Members who do not keep up with a loop of emits.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use crate::session::Session;

/// How long an emitter waits for members who are behind: if others keep up, and if all are behind and get on.
const WAIT_FOR_SOME: Duration = Duration::from_millis(10);
const WAIT_FOR_ALL: Duration = Duration::from_secs(1);
/// Members get on if anything moves within this time: the round trip of a far one.
const NO_PROGRESS: Duration = Duration::from_millis(300);
/// How often it looks.
const LOOK: Duration = Duration::from_millis(1);

/// Who does not keep up, and how many do.
#[derive(Default)]
pub(super) struct Behind {
    pub(super) sessions: Vec<Arc<Session>>,
    pub(super) keep_up: usize,
}

impl Behind {
    pub(super) fn add(&mut self, mut other: Self) {
        self.sessions.append(&mut other.sessions);
        self.keep_up += other.keep_up;
    }

    /// Waits until those who are behind have caught up: not for long if others keep up, or if none of them gets on.
    pub(super) async fn wait(mut self) {
        let patience = if self.keep_up > 0 { WAIT_FOR_SOME } else { WAIT_FOR_ALL };
        let (started, mut moved) = (Instant::now(), Instant::now());
        let queued = |sessions: &[Arc<Session>]| sessions.iter().map(|one| one.queued()).sum::<usize>();
        let mut before = queued(&self.sessions);
        while !self.sessions.is_empty() && started.elapsed() < patience && moved.elapsed() < NO_PROGRESS {
            sleep(LOOK).await;
            self.sessions.retain(|one| !one.is_ending() && one.queued() > one.limits().outgoing_queue as usize / 2);
            let now = queued(&self.sessions);
            if now < before {
                moved = Instant::now();
            }
            before = now;
        }
    }
}

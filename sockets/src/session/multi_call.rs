//! A question to an audience: where its answers meet.

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::lock::{Mutex, wake};
use sockets_proto::CallResult;

/// The answers that have come and have not been taken.
#[derive(Default)]
pub(crate) struct MultiCall {
    inbox: Mutex<MultiCallResults>,
}

#[derive(Default)]
struct MultiCallResults {
    answers: VecDeque<(usize, CallResult)>,
    waker: Option<Waker>,
}

/// One member's part in a question.
pub(crate) struct MultiCallSlot {
    ask: Arc<MultiCall>,
    index: usize,
}

impl MultiCall {
    /// The next answer, with the index of the member who gave it.
    pub(crate) fn poll_answer(&self, cx: &mut Context<'_>) -> Poll<(usize, CallResult)> {
        let answer = self.inbox.lock().answers.pop_front();
        if let Some(answer) = answer {
            return Poll::Ready(answer);
        }
        // Wakers are cloned and dropped without the lock.
        let mut waker = Some(cx.waker().clone());
        let mut inbox = self.inbox.lock();
        if let Some(answer) = inbox.answers.pop_front() {
            return Poll::Ready(answer);
        }
        mem::swap(&mut inbox.waker, &mut waker);
        Poll::Pending
    }
}

impl MultiCallSlot {
    pub(crate) fn new(ask: &Arc<MultiCall>, index: usize) -> Self {
        Self { ask: Arc::clone(ask), index }
    }

    /// Hands the member's answer over.
    pub(crate) fn complete(self, answer: CallResult) {
        let mut inbox = self.ask.inbox.lock();
        inbox.answers.push_back((self.index, answer));
        let waker = inbox.waker.take();
        drop(inbox);
        waker.into_iter().for_each(wake);
    }
}

//! The results of a broadcast request.

use std::{
    collections::VecDeque,
    mem,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::lock::{Mutex, wake};
use sockets_proto::CallResult;

/// A broadcast request. It holds the results that the caller has not taken yet.
#[derive(Default)]
pub(crate) struct MultiCall {
    inbox: Mutex<MultiCallResults>,
}

#[derive(Default)]
struct MultiCallResults {
    results: VecDeque<(usize, CallResult)>,
    waker: Option<Waker>,
}

/// The slot of a member in a broadcast request.
pub(crate) struct MultiCallSlot {
    request: Arc<MultiCall>,
    index: usize,
}

impl MultiCall {
    /// Waits for the next result. Returns it with the index of its member.
    pub(crate) fn poll_result(&self, cx: &mut Context<'_>) -> Poll<(usize, CallResult)> {
        let result = self.inbox.lock().results.pop_front();
        if let Some(result) = result {
            return Poll::Ready(result);
        }
        // Wakers are cloned and dropped without the lock.
        let mut waker = Some(cx.waker().clone());
        let mut inbox = self.inbox.lock();
        if let Some(result) = inbox.results.pop_front() {
            return Poll::Ready(result);
        }
        mem::swap(&mut inbox.waker, &mut waker);
        Poll::Pending
    }
}

impl MultiCallSlot {
    pub(crate) fn new(request: &Arc<MultiCall>, index: usize) -> Self {
        Self { request: Arc::clone(request), index }
    }

    /// Stores the result of the member, and wakes the caller.
    pub(crate) fn complete(self, result: CallResult) {
        let mut inbox = self.request.inbox.lock();
        inbox.results.push_back((self.index, result));
        let waker = inbox.waker.take();
        drop(inbox);
        waker.into_iter().for_each(wake);
    }
}

//! The result of a handler with layers.

use std::sync::Arc;

use bytes::Bytes;

use crate::{call_error::CallError, lock::Mutex, thread_cache::ThreadCache};

thread_local! {
    static CACHE: ThreadCache<LayeredResult, 32> = const { ThreadCache::new() };
}

/// The place for the result of a handler: the encoded reply, or the failure. The responder of the
/// handler sets it, and the innermost layer takes it.
#[derive(Clone, Default)]
pub(crate) struct LayeredResult(Arc<Mutex<Option<Result<Bytes, CallError>>>>);

impl LayeredResult {
    pub(crate) fn new() -> Self {
        CACHE.with(ThreadCache::take).unwrap_or_default()
    }

    pub(super) fn set(&self, result: Result<Bytes, CallError>) {
        *self.0.lock() = Some(result);
    }

    /// Takes the result after the handler has completed.
    pub(crate) fn take(&mut self) -> Option<Result<Bytes, CallError>> {
        let result = self.0.lock().take();
        if Arc::get_mut(&mut self.0).is_some() {
            CACHE.with(|cache| cache.put(self.clone()));
        }
        result
    }
}

//! A hook that runs only once.

use std::sync::Mutex;

use sockets::{ClientBuilder, Peer};

/// Adds [`first_session`](Self::first_session) to a builder.
pub trait FirstSession {
    /// Adds a hook that runs in the first session only.
    fn first_session<F, Fut>(self, f: F) -> Self
    where
        F: FnOnce(Peer) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static;
}

impl FirstSession for ClientBuilder {
    fn first_session<F, Fut>(self, f: F) -> Self
    where
        F: FnOnce(Peer) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let hook = Mutex::new(Some(f));
        self.each_session(move |peer, _| {
            let hook = hook.lock().unwrap().take();
            async move {
                if let Some(hook) = hook {
                    hook(peer).await;
                }
            }
        })
    }
}

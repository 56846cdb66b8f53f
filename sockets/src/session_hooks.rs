//! The hooks by which a client prepares new sessions.

use std::{
    future::{Future, poll_fn},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use futures_util::future::BoxFuture;
use tokio::time::sleep;

use crate::{
    handler_context::run_hook,
    hooks,
    session::{Peer, Session},
};

/// The session that a hook of [`ClientBuilder::each_session`](crate::ClientBuilder::each_session)
/// prepares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The number of the session. It is 1 for the first session.
    pub number: u64,
}

type SessionHook = dyn Fn(Peer, SessionInfo) -> BoxFuture<'static, ()> + Send + Sync;

/// The hooks of a client, in the order in which they run.
#[derive(Clone, Default)]
pub(crate) struct SessionHooks {
    hooks: Vec<Arc<SessionHook>>,
    /// The time limit of all hooks of a session, from the moment at which the server is ready.
    pub(crate) limit: Duration,
}

impl SessionHooks {
    pub(crate) fn add<F, Fut>(&mut self, hook: F)
    where
        F: Fn(Peer, SessionInfo) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.hooks.push(Arc::new(move |peer, session| Box::pin(hook(peer, session))));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hooks.is_empty()
    }

    /// Begins to prepare a session. Polls the hooks once, so that the listeners that they add
    /// before their first suspension receive all messages of the server. Returns the rest, which
    /// fails if a hook panics or exceeds the time limit.
    pub(crate) fn begin(&self, session: &Arc<Session>, number: u64) -> BoxFuture<'static, Result<(), &'static str>> {
        session.remove_temporary();
        let (hooks, limit, prepared) = (self.hooks.clone(), self.limit, Arc::clone(session));
        let hooks = async move {
            for hook in &hooks {
                let peer = Peer::preparing(Arc::clone(&prepared));
                let hook = hooks::run_future("each_session", prepared.label(), || hook(peer, SessionInfo { number }));
                hook.await.ok_or("the `each_session` hook of the client panicked")?;
            }
            Ok(())
        };
        let (mut hooks, context) = (Box::pin(hooks), Arc::clone(session));
        let mut poll = move |cx: &mut std::task::Context<'_>| run_hook(&context, || hooks.as_mut().poll(cx));
        if let Poll::Ready(done) = poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            return Box::pin(std::future::ready(done));
        }
        let session = Arc::clone(session);
        Box::pin(async move {
            let too_late = async {
                // If the session ends first, this future is dropped.
                let _ = session.until_connected().await;
                sleep(limit).await;
            };
            tokio::select! {
                done = poll_fn(poll) => done,
                () = too_late => Err("the `each_session` hook of the client exceeded its time limit; raise `Limits::connected`"),
            }
        })
    }
}

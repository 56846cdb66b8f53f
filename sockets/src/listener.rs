//! Functions that serve a name.

use std::{
    future::Future,
    marker::PhantomData,
    sync::{Arc, Weak},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    connect_error::RegistrationError,
    session::{HandlerSlot, ListenerService, Responder, Session},
};
use sockets_proto::name::{InvalidName, check_path, check_segment, key};

/// A handle to a function that listens to a name. To remove the function, call
/// [`stop`](Self::stop). Dropping the handle does not remove the function.
#[derive(Clone, Debug)]
pub struct Listener {
    session: Weak<Session>,
    key: u64,
    id: u64,
}

/// The kind of a listener. Every listener receives emits, in the order of registration. A callback
/// also answers all requests.
#[derive(Clone, Copy)]
pub(crate) enum ListenerKind {
    Listener,
    Callback,
}

impl Listener {
    pub(crate) fn add(
        session: &Arc<Session>,
        path: &str,
        name: &str,
        listen: Arc<dyn ListenerService>,
        kind: ListenerKind,
    ) -> Result<Self, ListenError> {
        check_path(path)?;
        check_segment(name)?;
        // Pass a clone of `listen` to the closure, which runs while `change_routes` holds a lock.
        // If the closure refuses the function, it drops the clone under the lock. The function
        // itself is dropped after the lock has been released, since the drop runs user code.
        let (key, max_names) = (key(path, name), session.max_names());
        let added = session.change_routes(&[key], |routes| match kind {
            ListenerKind::Listener => routes.listen(path, name, Arc::clone(&listen), max_names).map(|id| (id, None)),
            ListenerKind::Callback => routes.set_callback(path, name, Arc::clone(&listen), max_names),
        });
        let (id, _replaced) = added?;
        Ok(Self { session: Arc::downgrade(session), key, id })
    }

    /// Removes the function. Calls that have started continue.
    pub fn stop(&self) {
        if let Some(session) = self.session.upgrade() {
            drop(session.change_routes(&[self.key], |routes| routes.remove(self.key, self.id)));
        }
    }
}

/// The error of a name that cannot be listened to.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum ListenError {
    Name(#[from] InvalidName),
    Registration(#[from] RegistrationError),
}

/// A user's function that takes arguments of type `A`.
pub(crate) struct ListenerFn<F, A> {
    f: Arc<F>,
    arguments: PhantomData<fn(A)>,
}

impl<F, A> ListenerFn<F, A> {
    pub(crate) fn new(f: F) -> Self {
        Self { f: Arc::new(f), arguments: PhantomData }
    }
}

impl<F, A, Fut> ListenerService for ListenerFn<F, A>
where
    A: DeserializeOwned + Send + 'static,
    F: Fn(A) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: Serialize + Send> + Send + 'static,
{
    fn start(&self, call: Responder, slot: &mut HandlerSlot) {
        let f = Arc::clone(&self.f);
        slot.put(async move {
            let args = call.decode::<A>()?;
            let reply = f(args).await;
            call.reply(reply).await
        });
    }
}

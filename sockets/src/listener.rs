//! Functions that listen to a name.

use std::{
    future::Future,
    marker::PhantomData,
    sync::{Arc, Weak},
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{
    registration_error::RegistrationError,
    session::{HandlerSlot, ListenerService, Responder, Session},
};
use sockets_proto::name::{InvalidName, check_path, check_segment, key};

/// A subscription to a name. Dropping it changes nothing; [`stop`](Self::stop) unsubscribes.
#[derive(Clone, Debug)]
pub struct Listener {
    session: Weak<Session>,
    key: u64,
    id: u64,
}

/// Whether a function is one of many that hear, or the one that answers.
#[derive(Clone, Copy)]
pub(crate) enum ListenerKind {
    InTurn,
    Always,
}

impl Listener {
    pub(crate) fn add(
        session: &Arc<Session>,
        path: &str,
        name: &str,
        listen: Arc<dyn ListenerService>,
        answering: ListenerKind,
    ) -> Result<Self, ListenError> {
        check_path(path)?;
        check_segment(name)?;
        // A clone is kept here, so that one that is refused is not dropped under the lock.
        let key = key(path, name);
        let added = session.change_routes(&[key], |routes| match answering {
            ListenerKind::InTurn => routes.listen(path, name, Arc::clone(&listen)).map(|id| (id, None)),
            ListenerKind::Always => routes.set_callback(path, name, Arc::clone(&listen)),
        });
        let (id, _replaced) = added?;
        Ok(Self { session: Arc::downgrade(session), key, id })
    }

    /// Unsubscribes. Calls that have started go on.
    pub fn stop(&self) {
        if let Some(session) = self.session.upgrade() {
            drop(session.change_routes(&[self.key], |routes| routes.remove(self.key, self.id)));
        }
    }
}

/// Why a name cannot be listened to.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) enum ListenError {
    Name(#[from] InvalidName),
    Registration(#[from] RegistrationError),
}

/// A user's function over arguments of type `A`.
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
    fn start(&self, call: Responder, place: &mut HandlerSlot) {
        let f = Arc::clone(&self.f);
        place.put(async move {
            let args = call.decode::<A>()?;
            let reply = f(args).await;
            call.reply(reply).await
        });
    }
}

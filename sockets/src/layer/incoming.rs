//! Layers around handlers and listeners.

use crate::method::Method;
use std::sync::Arc;

use super::{
    chain::ErasedCall,
    request::{Direction, Request},
};
use crate::session::{Completed, HandlerSlot, ListenerService, Responder, Service};
use sockets_proto::FailureCode;

/// A call that has come in, and who is to handle it.
pub(super) struct ReceivedCall {
    incoming: Responder,
    handler: HandlerTarget,
}

enum HandlerTarget {
    Group(Arc<dyn Service>, u64),
    Listener(Arc<dyn ListenerService>),
}

impl ReceivedCall {
    fn request<'a>(self, path: &'a str, method: &'a str) -> Request<'a> {
        Request {
            path,
            method,
            kind: self.incoming.kind(),
            peer: Some(self.incoming.call().peer().clone()),
            length: self.incoming.arguments_len(),
            way: Direction::In(self),
        }
    }

    pub(super) fn deny(self) -> Completed {
        self.incoming.fail(FailureCode::Denied, "")
    }

    /// Runs the handler. All layers and it are one future for whoever started them, with one deadline.
    pub(super) async fn run(self) -> Result<Completed, Completed> {
        let mut place = HandlerSlot::default();
        match self.handler {
            HandlerTarget::Group(service, key) => service.start(key, self.incoming, &mut place),
            HandlerTarget::Listener(listen) => listen.start(self.incoming, &mut place),
        }
        match place.into_future() {
            Some(running) => running.await,
            None => Err(Completed::elsewhere()),
        }
    }
}

/// A group with layers around it.
pub(super) struct LayeredService {
    pub(super) chain: Arc<dyn ErasedCall>,
    pub(super) service: Arc<dyn Service>,
}

impl Service for LayeredService {
    fn path(&self) -> &'static str {
        self.service.path()
    }

    fn methods(&self) -> &'static [Method] {
        self.service.methods()
    }

    fn start(&self, key: u64, incoming: Responder, place: &mut HandlerSlot) {
        let Some(method) = self.methods().iter().find(|method| method.key == key) else { return incoming.refuse() };
        let (path, name) = (method.path, method.name);
        let chain = Arc::clone(&self.chain);
        let arrived = ReceivedCall { incoming, handler: HandlerTarget::Group(Arc::clone(&self.service), key) };
        place.put(async move { chain.call(arrived.request(path, name)).await.handled() });
    }
}

/// A function that listens to a name, with layers around it.
pub(super) struct LayeredListener {
    pub(super) chain: Arc<dyn ErasedCall>,
    pub(super) listen: Arc<dyn ListenerService>,
    /// The group's path, and the name.
    pub(super) names: Arc<(String, String)>,
}

impl ListenerService for LayeredListener {
    fn start(&self, incoming: Responder, place: &mut HandlerSlot) {
        let (chain, names) = (Arc::clone(&self.chain), Arc::clone(&self.names));
        let arrived = ReceivedCall { incoming, handler: HandlerTarget::Listener(Arc::clone(&self.listen)) };
        place.put(async move {
            let (path, name) = &*names;
            chain.call(arrived.request(path, name)).await.handled()
        });
    }
}

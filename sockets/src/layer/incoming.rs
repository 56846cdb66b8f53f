//! Layers around handlers and listeners.

use crate::method::Method;
use std::sync::Arc;

use super::{
    chain::ErasedCall,
    request::{Direction, Request},
};
use crate::session::{Completed, HandlerSlot, ListenerService, Responder, Service};
use sockets_proto::FailureCode;

/// A received call and its handler.
pub(super) struct ReceivedCall {
    responder: Responder,
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
            kind: self.responder.kind(),
            peer: Some(self.responder.call().peer().clone()),
            length: self.responder.arguments_len(),
            direction: Direction::In(self),
        }
    }

    pub(super) fn deny(self) -> Completed {
        self.responder.fail(FailureCode::Denied, "")
    }

    /// Runs the handler. The driver polls the layers and the handler as a single future with a
    /// single deadline.
    pub(super) async fn run(self) -> Result<Completed, Completed> {
        let mut slot = HandlerSlot::default();
        match self.handler {
            HandlerTarget::Group(service, key) => service.start(key, self.responder, &mut slot),
            HandlerTarget::Listener(listen) => listen.start(self.responder, &mut slot),
        }
        match slot.into_future() {
            Some(future) => future.await,
            None => Err(Completed::elsewhere()),
        }
    }
}

/// A group with layers around its handler.
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

    fn start(&self, key: u64, responder: Responder, slot: &mut HandlerSlot) {
        let Some(method) = self.methods().iter().find(|method| method.key == key) else { return responder.refuse() };
        let (path, name) = (method.path, method.name);
        let chain = Arc::clone(&self.chain);
        let received = ReceivedCall { responder, handler: HandlerTarget::Group(Arc::clone(&self.service), key) };
        slot.put(async move { chain.call(received.request(path, name)).await.handled() });
    }
}

/// A function that listens to a name, with layers around it.
pub(super) struct LayeredListener {
    pub(super) chain: Arc<dyn ErasedCall>,
    pub(super) listen: Arc<dyn ListenerService>,
    /// The path of the group, and the name.
    pub(super) names: Arc<(String, String)>,
}

impl ListenerService for LayeredListener {
    fn start(&self, responder: Responder, slot: &mut HandlerSlot) {
        let (chain, names) = (Arc::clone(&self.chain), Arc::clone(&self.names));
        let received = ReceivedCall { responder, handler: HandlerTarget::Listener(Arc::clone(&self.listen)) };
        slot.put(async move {
            let (path, name) = &*names;
            chain.call(received.request(path, name)).await.handled()
        });
    }
}

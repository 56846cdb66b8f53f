//! Layers around handlers and listeners.

use std::sync::Arc;

use super::{
    chain::ErasedService,
    request::{Handler, Request},
};
use crate::{
    method::OwnedCallee,
    session::{GroupInfo, GroupService, HandlerSlot, ListenerService, Responder},
};

/// A group with layers around its handler.
pub(super) struct LayeredService {
    pub(super) chain: Arc<dyn ErasedService>,
    pub(super) service: Arc<dyn GroupService>,
}

impl GroupService for LayeredService {
    fn info(&self) -> GroupInfo {
        self.service.info()
    }

    fn start(&self, key: u64, mut responder: Responder, slot: &mut HandlerSlot) {
        let Some(method) = self.info().methods.iter().find(|method| method.key == key) else {
            return responder.refuse();
        };
        let handler = Handler::Group(Arc::clone(&self.service));
        let request = Request::received(OwnedCallee::Declared(method), &mut responder, handler);
        self.chain.answer(request, responder, slot);
    }
}

/// A function that listens to a name, with layers around it.
pub(super) struct LayeredListener {
    pub(super) chain: Arc<dyn ErasedService>,
    pub(super) listen: Arc<dyn ListenerService>,
    pub(super) callee: OwnedCallee,
}

impl ListenerService for LayeredListener {
    fn start(&self, mut responder: Responder, slot: &mut HandlerSlot) {
        let handler = Handler::Listener(Arc::clone(&self.listen));
        let request = Request::received(self.callee.clone(), &mut responder, handler);
        self.chain.answer(request, responder, slot);
    }
}

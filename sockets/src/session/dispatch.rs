//! From a received call to its handler's first suspension.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use super::Session;
use crate::{
    call::Call,
    incoming::{EmitLease, Incoming},
    keys::KeyMap,
    peer::Peer,
    place::{Place, Running},
    proto::{CallId, Called, FailureCode, Open, Payload, Violation},
    routes::{Resolved, Subscriber},
    service::Kind,
};

/// A call that waits for its turn, with the time it came in.
struct Held {
    called: Called,
    received: Instant,
}

/// Starts handlers, in the order in which their calls came.
pub(super) struct Dispatcher {
    session: Arc<Session>,
    /// What the routes gave for a key, and the place where its handler is polled.
    known: KeyMap<(Resolved, Place)>,
    /// The routes' version that `known` was made from.
    version: u64,
    held: VecDeque<Held>,
}

impl Dispatcher {
    pub(super) fn new(session: Arc<Session>) -> Self {
        Self { session, known: KeyMap::default(), version: 0, held: VecDeque::new() }
    }

    /// Starts a call's handler, or holds the call: until the gate is open, and while the peer takes no replies.
    pub(super) fn accept(&mut self, called: Called, now: Instant) -> Result<(), Violation> {
        if !self.held.is_empty() || !self.gate_is_open() {
            self.held.push_back(Held { called, received: now });
            return Ok(());
        }
        self.start(called, now)
    }

    /// Starts what was held, as far as that may go on.
    pub(super) fn release(&mut self) -> Result<(), Violation> {
        while !self.held.is_empty() && self.gate_is_open() {
            let Some(held) = self.held.pop_front() else { break };
            self.start(held.called, held.received)?;
        }
        Ok(())
    }

    /// Whether calls are held that may start.
    pub(super) fn has_work(&self) -> bool {
        !self.held.is_empty() && self.gate_is_open()
    }

    /// A request is revoked that has no suspended handler: if it is held, it is answered without one.
    pub(super) fn revoke(&mut self, id: CallId) {
        let at = self.held.iter().position(|held| held.called.open == Open::Request(id));
        if let Some(held) = at.and_then(|at| self.held.remove(at)) {
            let nothing = Payload::Copied(&[]);
            self.session.answer(id, held.called.length, Some(FailureCode::Cancelled), &nothing);
        }
    }

    fn gate_is_open(&self) -> bool {
        let mut state = self.session.state.lock();
        state.ready && state.core.outbox().len() < state.core.queue_limit()
    }

    fn start(&mut self, called: Called, received: Instant) -> Result<(), Violation> {
        let Called { key, open, timeout, payload, length } = called;
        self.session.state.lock().core.check_id(open)?;
        let deadline = received + timeout.unwrap_or(self.session.limits.call_timeout);
        let call = Call::new(Peer::new(Arc::clone(&self.session)), deadline);
        let session = Arc::clone(&self.session);
        let (resolved, place) = self.look_up(key);
        match open {
            Open::Request(id) => {
                let incoming = Incoming::request(call, payload, id, length);
                match &resolved.answerer {
                    None => incoming.refuse(),
                    Some(Subscriber::Group { kind: Kind::Emit, .. }) => {
                        let name = session.name_of(key);
                        incoming.fail(
                            FailureCode::SignatureMismatch,
                            &format!("{name} is requested by the caller and an emit where it is served"),
                        );
                    }
                    Some(answerer) => run(&session, answerer, key, incoming, open, deadline, place),
                }
            }
            Open::Emit(_) => {
                let lease = EmitLease::new(Arc::clone(&session), open, length);
                let is_heard = |one: &&Subscriber| !matches!(one, Subscriber::Group { kind: Kind::Request, .. });
                let mut hearers = resolved.hearers.iter().filter(is_heard);
                match (hearers.next(), hearers.next()) {
                    (None, _) => tracing::debug!(key, "nobody listens to an emit; it is dropped"),
                    (Some(only), None) => {
                        run(&session, only, key, Incoming::emit(call, payload, lease), open, deadline, place);
                    }
                    (Some(_), Some(_)) => {
                        let lease = Arc::new(lease);
                        for hearer in resolved.hearers.iter().filter(is_heard) {
                            let incoming = Incoming::shared_emit(call.clone(), payload.clone(), Arc::clone(&lease));
                            run(&session, hearer, key, incoming, open, deadline, place);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn look_up(&mut self, key: u64) -> &mut (Resolved, Place) {
        let version = self.session.routes_version.load(Ordering::Acquire);
        if self.version != version {
            self.version = version;
            self.known.clear();
        }
        // The keys of a peer's choice that nobody serves share one entry's place and are not kept.
        if !self.known.contains_key(&key) {
            let resolved = self.session.routes.read().resolve(&self.session.shared_routes, key);
            if resolved.hearers.is_empty() && resolved.answerer.is_none() {
                return self.known.entry(UNKNOWN).or_default();
            }
            self.known.insert(key, (resolved, Place::default()));
        }
        self.known.entry(key).or_default()
    }
}

/// Stands for all keys that nobody serves. A method whose key it happened to be would still resolve to nothing here
/// only if its name hashed to zero.
const UNKNOWN: u64 = 0;

/// Starts a handler, polls it once, and gives it a task of its own if it suspends.
fn run(
    session: &Arc<Session>,
    subscriber: &Subscriber,
    key: u64,
    incoming: Incoming,
    open: Open,
    deadline: Instant,
    place: &mut Place,
) {
    match subscriber {
        Subscriber::Group { service, .. } => service.start(key, incoming, place),
        Subscriber::Listener { listen, .. } => listen.start(incoming, place),
    }
    if let Some(running) = place.poll_once() {
        session.suspend(open, running, deadline);
    }
}

impl Session {
    /// Lets a suspended handler go on in a task of its own, until its deadline.
    fn suspend(&self, open: Open, running: Running, deadline: Instant) {
        // The task's answer needs this lock, so it cannot end before it is known here.
        let mut state = self.state.lock();
        let task = tokio::spawn(tokio::time::timeout_at(deadline.into(), running));
        state.core.suspend(open, task.abort_handle());
    }

    fn name_of(&self, key: u64) -> String {
        let routes = self.routes.read();
        routes.name(key).or_else(|| self.shared_routes.name(key)).unwrap_or("the method").to_owned()
    }
}

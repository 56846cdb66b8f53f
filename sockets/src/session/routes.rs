//! The subscribers of the keys, and the interfaces by which the dispatcher starts them.

use std::{
    any::type_name,
    collections::BTreeMap,
    mem,
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{HandlerSlot, Responder, Session, describe::Described, interceptor::Interceptor};
use crate::{
    connect_error::RegistrationError,
    hooks,
    method::{Kind, Method},
};
use sockets_proto::{
    Announcement, ReleaseUnused,
    name::{full_name, key},
};

/// A group with its handler, such as `PurchasesServer<H>`. The attribute [`group`](crate::group)
/// generates this type for each trait, and only the attribute implements `Service`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a group that can be served",
    label = "wrap the handler in the server type of its trait: `XServer::new(handler)` for a trait `X`",
    note = "`#[sockets::group]` on a trait `X` generates the type `XServer` next to the trait"
)]
pub trait Service: Send + Sync + 'static {
    /// The path of the group.
    #[doc(hidden)]
    const PATH: &'static str;

    /// The methods of the group.
    #[doc(hidden)]
    const METHODS: &'static [Method];

    /// Puts the future of the handler of this method into `slot`, without polling it.
    #[doc(hidden)]
    fn start(&self, key: u64, call: Responder, slot: &mut HandlerSlot);
}

/// The properties of a group that do not depend on its handler.
#[derive(Clone, Copy)]
pub(crate) struct GroupInfo {
    pub(crate) path: &'static str,
    pub(crate) methods: &'static [Method],
    /// The name of the server type, for messages.
    type_name: &'static str,
}

impl GroupInfo {
    pub(crate) fn of<S: Service>() -> Self {
        Self { path: S::PATH, methods: S::METHODS, type_name: type_name::<S>() }
    }
}

/// A [`Service`] of any type.
pub(crate) trait GroupService: Send + Sync {
    fn info(&self) -> GroupInfo;

    /// Puts the future of the handler of this method into `slot`, without polling it.
    fn start(&self, key: u64, call: Responder, slot: &mut HandlerSlot);
}

impl<S: Service> GroupService for S {
    fn info(&self) -> GroupInfo {
        GroupInfo::of::<S>()
    }

    fn start(&self, key: u64, call: Responder, slot: &mut HandlerSlot) {
        Service::start(self, key, call, slot);
    }
}

/// A group that has one handler per socket, in the shared routes. [`Routes::resolve`] replaces it by
/// the handler of the session.
struct PerSocketGroup(GroupInfo);

impl GroupService for PerSocketGroup {
    fn info(&self) -> GroupInfo {
        self.0
    }

    fn start(&self, _: u64, call: Responder, _: &mut HandlerSlot) {
        // The session has no handler before `connected` and after its end.
        call.refuse();
    }
}

/// A function that handles the calls of a name.
pub(crate) trait ListenerService: Send + Sync {
    /// Puts the future of the function into `slot`, without polling it.
    fn start(&self, call: Responder, slot: &mut HandlerSlot);
}

/// A handler or listener of a name.
#[derive(Clone)]
pub(crate) enum Subscriber {
    Group { service: Arc<dyn GroupService>, kind: Kind, detached: bool, signature: u64 },
    Listener { id: u64, listen: Arc<dyn ListenerService> },
}

/// The subscribers of a key.
#[derive(Clone)]
struct Route {
    /// The full name, for messages.
    name: String,
    path: String,
    /// The method, if a group declares it.
    method: Option<&'static Method>,
    /// The subscribers, in the order of their registration. The first subscriber answers requests.
    subscribers: Vec<Subscriber>,
    /// The callback and its id. A callback answers requests instead of the first subscriber.
    callback: Option<(u64, Arc<dyn ListenerService>)>,
}

impl Subscriber {
    /// Returns `true` if the subscriber accepts calls of this kind. A listener accepts both kinds.
    pub(crate) fn accepts(&self, called: Kind) -> bool {
        match self {
            Self::Group { kind, .. } => *kind == called,
            Self::Listener { .. } => true,
        }
    }

    /// Returns the signature of the method. A listener has no signature, and tries to decode any
    /// arguments.
    fn signature(&self) -> Option<u64> {
        match self {
            Self::Group { signature, .. } => Some(*signature),
            Self::Listener { .. } => None,
        }
    }
}

/// A served group, and the call that registered it.
#[derive(Clone)]
struct RegisteredGroup {
    info: GroupInfo,
    location: &'static Location<'static>,
}

/// The groups, listeners and callbacks of an endpoint.
#[derive(Clone, Default)]
pub(crate) struct Routes {
    by_key: BTreeMap<u64, Route>,
    groups: Vec<RegisteredGroup>,
    /// The layers around subscribers.
    interceptor: Option<Arc<dyn Interceptor>>,
    /// The session's handlers of the shared groups that have one handler per socket.
    own_handlers: Box<[Arc<dyn GroupService>]>,
}

impl Routes {
    /// Removes all subscribers and returns them, so that the caller can drop them without a lock.
    /// The names stay, since events and errors still contain the names.
    pub(super) fn clear(&mut self) -> (Vec<Subscriber>, Box<[Arc<dyn GroupService>]>) {
        self.groups.clear();
        self.interceptor = None;
        let removed = self.by_key.values_mut().flat_map(|route| {
            let callback = route.callback.take().map(|(id, listen)| Subscriber::Listener { id, listen });
            mem::take(&mut route.subscribers).into_iter().chain(callback)
        });
        (removed.collect(), mem::take(&mut self.own_handlers))
    }

    /// Sets the layers around groups, and around listeners that are added from now on.
    pub(crate) fn with_interceptor(mut self, interceptor: Option<Arc<dyn Interceptor>>) -> Self {
        if let Some(interceptor) = &interceptor {
            for subscriber in self.by_key.values_mut().flat_map(|route| &mut route.subscribers) {
                if let Subscriber::Group { service, .. } = subscriber {
                    *service = interceptor.service(Arc::clone(service));
                }
            }
        }
        Self { interceptor, ..self }
    }

    #[cfg(feature = "middleware")]
    pub(super) fn interceptor(&self) -> Option<&Arc<dyn Interceptor>> {
        self.interceptor.as_ref()
    }

    /// Serves a group of a builder.
    ///
    /// # Panics
    ///
    /// The method panics if the group conflicts with a group that is served already.
    #[track_caller]
    pub(crate) fn serve_or_panic(&mut self, service: Arc<dyn GroupService>) {
        if let Err(error) = self.serve(service, Location::caller(), usize::MAX) {
            panic!("{error}");
        }
    }

    /// Registers a group of a builder that has one handler per socket.
    ///
    /// # Panics
    ///
    /// The method panics as [`serve_or_panic`](Self::serve_or_panic) does.
    #[track_caller]
    pub(crate) fn serve_each_or_panic(&mut self, info: GroupInfo) {
        self.serve_or_panic(Arc::new(PerSocketGroup(info)));
    }

    /// Adds the session's handler of a group that has one handler per socket.
    pub(super) fn add_own_handler(&mut self, service: Arc<dyn GroupService>) {
        let own_handlers = mem::take(&mut self.own_handlers);
        self.own_handlers = own_handlers.into_iter().chain([self.intercept_group(service)]).collect();
    }

    /// Serves a group that is registered at `location`.
    pub(crate) fn serve(
        &mut self,
        service: Arc<dyn GroupService>,
        location: &'static Location<'static>,
        max_names: usize,
    ) -> Result<(), RegistrationError> {
        let info @ GroupInfo { path, methods, type_name } = service.info();
        if let Some(first) = self.groups.iter().find(|group| group.info.path == path) {
            return Err(RegistrationError::ServedTwice {
                path,
                first: first.info.type_name,
                first_location: first.location,
                second: type_name,
                second_location: location,
            });
        }
        // Every method is checked before the first is added, so that all or none are added.
        let names = methods.iter().map(|method| (method.key, method.path, method.name));
        let new = names.map(|(key, path, name)| self.check(key, path, name));
        let new = new.collect::<Result<Vec<bool>, _>>()?.into_iter().filter(|new| *new).count();
        self.check_capacity(new, max_names)?;
        self.groups.push(RegisteredGroup { info, location });
        let service = self.intercept_group(service);
        for method in methods {
            let &Method { key, path, name, kind, detached, signature, .. } = method;
            let subscriber = Subscriber::Group { service: Arc::clone(&service), kind, detached, signature };
            let route = self.route(key, path, name);
            route.method = Some(method);
            route.subscribers.push(subscriber);
        }
        Ok(())
    }

    /// Stops serving a group, and returns its subscribers. The caller drops them without a lock.
    #[must_use]
    pub(super) fn stop_serving(&mut self, info: GroupInfo) -> Vec<Subscriber> {
        self.groups.retain(|group| group.info.path != info.path);
        let mut removed = Vec::new();
        for method in info.methods {
            let Some(route) = self.by_key.get_mut(&method.key) else { continue };
            let is_group = |subscriber: &mut Subscriber| matches!(subscriber, Subscriber::Group { .. });
            removed.extend(route.subscribers.extract_if(.., is_group));
            route.method = None;
            if route.subscribers.is_empty() && route.callback.is_none() {
                self.by_key.remove(&method.key);
            }
        }
        removed
    }

    /// Adds a listener, and returns the id with which it is removed.
    pub(crate) fn listen(
        &mut self,
        path: &str,
        name: &str,
        listen: Arc<dyn ListenerService>,
        max_names: usize,
    ) -> Result<u64, RegistrationError> {
        let (id, listen) = (next_id(), self.intercept_listener(path, name, listen));
        self.checked_route(path, name, max_names)?.subscribers.push(Subscriber::Listener { id, listen });
        Ok(id)
    }

    /// Sets the callback that answers requests. Returns its id, and the callback that it replaces.
    pub(crate) fn set_callback(
        &mut self,
        path: &str,
        name: &str,
        listen: Arc<dyn ListenerService>,
        max_names: usize,
    ) -> Result<(u64, Option<Arc<dyn ListenerService>>), RegistrationError> {
        let (id, listen) = (next_id(), self.intercept_listener(path, name, listen));
        let replaced = self.checked_route(path, name, max_names)?.callback.replace((id, listen));
        Ok((id, replaced.map(|(_, listen)| listen)))
    }

    fn intercept_group(&self, service: Arc<dyn GroupService>) -> Arc<dyn GroupService> {
        match &self.interceptor {
            Some(interceptor) => interceptor.service(service),
            None => service,
        }
    }

    fn intercept_listener(&self, path: &str, name: &str, listen: Arc<dyn ListenerService>) -> Arc<dyn ListenerService> {
        match &self.interceptor {
            Some(interceptor) => interceptor.listen(path, name, listen),
            None => listen,
        }
    }

    /// Removes a listener or callback and returns it. If the name has no other subscriber, also
    /// removes the name. The caller drops the returned subscriber without a lock, since the drop
    /// runs user code.
    #[must_use]
    pub(crate) fn remove(&mut self, key: u64, id: u64) -> Option<Subscriber> {
        let route = self.by_key.get_mut(&key)?;
        let has_id =
            |subscriber: &Subscriber| matches!(subscriber, Subscriber::Listener { id: this, .. } if *this == id);
        let listener = route.subscribers.iter().position(has_id).map(|at| route.subscribers.remove(at));
        route.subscribers.release_unused();
        let callback = route.callback.take_if(|(this, _)| *this == id);
        if route.subscribers.is_empty() && route.callback.is_none() {
            self.by_key.remove(&key);
        }
        listener.or(callback.map(|(id, listen)| Subscriber::Listener { id, listen }))
    }

    /// Returns the handlers for emits of `key`, and the handler for requests of `key`. The
    /// subscribers of `shared` come first, unless this peer has a group with the same path. In that
    /// case, the subscribers of `shared` are omitted.
    pub(super) fn resolve<'a>(&'a self, shared: &'a Self, key: u64) -> (Box<[Subscriber]>, Option<Subscriber>) {
        let routes = || self.routes_of(shared, key);
        let of_route = |route: &'a Route| route.subscribers.iter().map(|subscriber| self.with_own_handler(subscriber));
        let subscribers = || routes().flat_map(of_route);
        let callback = routes().filter_map(|route| route.callback.clone()).next_back();
        let callback = callback.map(|(id, listen)| Subscriber::Listener { id, listen });
        let request_handler = callback.or_else(|| subscribers().next());
        let emit_handlers = subscribers().filter(|subscriber| subscriber.accepts(Kind::Emit)).collect();
        (emit_handlers, request_handler)
    }

    /// Returns a subscriber. If its group has one handler per socket, the subscriber has the handler
    /// of this session.
    fn with_own_handler(&self, subscriber: &Subscriber) -> Subscriber {
        let mut subscriber = subscriber.clone();
        if let Subscriber::Group { service, .. } = &mut subscriber {
            let path = service.info().path;
            let own = self.own_handlers.iter().find(|own| own.info().path == path);
            if let Some(own) = own.filter(|_| !self.shadows(path)) {
                *service = Arc::clone(own);
            }
        }
        subscriber
    }

    /// Returns `true` if this peer has a group with this path. It shadows the shared group.
    fn shadows(&self, path: &str) -> bool {
        self.groups.iter().any(|group| group.info.path == path)
    }

    /// Returns the routes of `shared` and of this peer that have subscribers of a key.
    fn routes_of<'a>(&'a self, shared: &'a Self, key: u64) -> impl DoubleEndedIterator<Item = &'a Route> {
        let (own, shared) = (self.by_key.get(&key), shared.by_key.get(&key));
        let shared = shared.filter(|route| !self.shadows(&route.path));
        shared.into_iter().chain(own)
    }

    /// Returns the signature that calls of a key must have. Returns `None` if the key has a
    /// listener or callback, since these accept calls with any signature.
    pub(super) fn signature(&self, shared: &Self, key: u64) -> Option<u64> {
        let by_name = self.routes_of(shared, key).any(|route| route.callback.is_some());
        let mut signatures =
            self.routes_of(shared, key).flat_map(|route| route.subscribers.iter().map(Subscriber::signature));
        let first = signatures.next().filter(|_| !by_name)??;
        signatures.all(|other| other == Some(first)).then_some(first)
    }

    /// Returns the signatures of all methods that are served here, or `None` if there are none.
    pub(crate) fn announcement(&self) -> Option<Announcement> {
        let nothing = Self::default();
        Announcement::new(self.by_key.keys().filter_map(|key| Some((*key, self.signature(&nothing, *key)?))))
    }

    /// Returns the keys of the group with this path.
    pub(super) fn keys_of(&self, path: &str) -> impl Iterator<Item = u64> {
        self.by_key.iter().filter(move |(_, route)| route.path == path).map(|(key, _)| *key)
    }

    /// Describes the method with this key, if it is known here.
    pub(super) fn describe(&self, key: u64) -> Option<Described> {
        let route = self.by_key.get(&key)?;
        Some(route.method.map_or_else(|| Described::Named(route.name.clone()), Described::Declared))
    }

    fn checked_route(&mut self, path: &str, name: &str, max_names: usize) -> Result<&mut Route, RegistrationError> {
        let key = key(path, name);
        let new = self.check(key, path, name)?;
        self.check_capacity(usize::from(new), max_names)?;
        Ok(self.route(key, path, name))
    }

    /// Returns `true` if the name is new, and an error if another name has its key.
    fn check(&self, key: u64, path: &str, name: &str) -> Result<bool, RegistrationError> {
        let full = full_name(path, name);
        match self.by_key.get(&key) {
            None => Ok(true),
            Some(route) if route.name == full => Ok(false),
            Some(route) => Err(RegistrationError::SameKey { first: route.name.clone(), second: full }),
        }
    }

    fn check_capacity(&self, new: usize, limit: usize) -> Result<(), RegistrationError> {
        if self.by_key.len() + new > limit { Err(RegistrationError::TooManyNames { limit }) } else { Ok(()) }
    }

    fn route(&mut self, key: u64, path: &str, name: &str) -> &mut Route {
        self.by_key.entry(key).or_insert_with(|| Route {
            name: full_name(path, name),
            path: path.to_owned(),
            method: None,
            subscribers: Vec::new(),
            callback: None,
        })
    }
}

/// Returns the id of a new listener or callback.
fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The subscribers that handle an emit, and the subscriber that answers a request.
///
/// If this value holds the last reference to a handler, the drop of this value drops the handler,
/// too. If the handler's `Drop` panics, the session only reports the panic.
pub(crate) struct Resolved {
    session: Arc<Session>,
    pub(crate) emit_handlers: Box<[Subscriber]>,
    pub(crate) request_handler: Option<Subscriber>,
}

impl Resolved {
    pub(crate) fn new(
        session: Arc<Session>,
        emit_handlers: Box<[Subscriber]>,
        request_handler: Option<Subscriber>,
    ) -> Self {
        Self { session, emit_handlers, request_handler }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.emit_handlers.is_empty() && self.request_handler.is_none()
    }
}

impl Drop for Resolved {
    fn drop(&mut self) {
        // Each handler is dropped separately, because a second panic during unwinding would abort
        // the process.
        for handler in mem::take(&mut self.emit_handlers).into_iter().chain(self.request_handler.take()) {
            hooks::run("drop of a handler", self.session.label(), || drop(handler));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{HandlerSlot, Responder};
    use sockets_proto::Overflow;

    struct Group(&'static [Method]);

    impl GroupService for Group {
        fn info(&self) -> GroupInfo {
            GroupInfo { path: self.0[0].path, methods: self.0, type_name: "Group" }
        }

        fn start(&self, _: u64, call: Responder, _: &mut HandlerSlot) {
            call.refuse();
        }
    }

    fn method(path: &'static str, name: &'static str, key: u64) -> Method {
        Method {
            path,
            name,
            key,
            kind: Kind::Request,
            timeout: None,
            idempotent: false,
            detached: false,
            overflow: Overflow::Disconnect,
            latest: None,
            arguments: &[],
            types: "() -> ()",
            signature: key,
        }
    }

    fn group(methods: Vec<Method>) -> Arc<dyn GroupService> {
        Arc::new(Group(methods.leak()))
    }

    #[test]
    fn path_served_twice_is_refused() {
        let mut routes = Routes::default();
        assert_eq!(routes.serve(group(vec![method("a", "x", 1)]), Location::caller(), 10), Ok(()));
        let again = routes.serve(group(vec![method("a", "y", 2)]), Location::caller(), 10);
        assert!(matches!(again, Err(RegistrationError::ServedTwice { path: "a", .. })));
    }

    #[test]
    fn group_with_a_key_of_another_name_is_refused_entirely() {
        let mut routes = Routes::default();
        assert_eq!(routes.serve(group(vec![method("a", "x", 1)]), Location::caller(), 10), Ok(()));
        let same = routes.serve(group(vec![method("b", "new", 3), method("b", "y", 1)]), Location::caller(), 10);
        assert_eq!(same, Err(RegistrationError::SameKey { first: "a/x".into(), second: "b/y".into() }));
        assert!(routes.describe(3).is_none());
    }

    #[test]
    fn names_above_the_limit_are_refused() {
        let mut routes = Routes::default();
        let two = routes.serve(group(vec![method("a", "x", 1), method("a", "y", 2)]), Location::caller(), 1);
        assert_eq!(two, Err(RegistrationError::TooManyNames { limit: 1 }));
    }
}

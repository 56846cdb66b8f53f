//! Which handlers answer to which key.

use std::{collections::BTreeMap, mem, sync::Arc};

use super::{
    describe::Described,
    interceptor::Interceptor,
    service::{ListenerService, Service},
};
use crate::{
    method::{Kind, Method},
    registration_error::RegistrationError,
};
use sockets_proto::{
    Announcement, ReleaseUnused,
    name::{full_name, key},
};

/// One who hears a name.
#[derive(Clone)]
pub(crate) enum Subscriber {
    Group { service: Arc<dyn Service>, kind: Kind, signature: u64 },
    Listener { id: u64, listen: Arc<dyn ListenerService> },
}

/// Everything under one key.
#[derive(Clone)]
struct Route {
    /// The full name, for messages about it.
    name: String,
    path: String,
    /// The method, if a group declares it.
    method: Option<&'static Method>,
    /// In the order in which they came: the first answers requests.
    subscribers: Vec<Subscriber>,
    /// Answers instead of the first.
    callback: Option<(u64, Arc<dyn ListenerService>)>,
}

impl Subscriber {
    /// Whether it can be called in this way. A listener can be in both.
    pub(crate) fn accepts(&self, called: Kind) -> bool {
        match self {
            Self::Group { kind, .. } => *kind == called,
            Self::Listener { .. } => true,
        }
    }
}

impl Subscriber {
    /// A function that listens to a name takes what it is given.
    fn signature(&self) -> Option<u64> {
        match self {
            Self::Group { signature, .. } => Some(*signature),
            Self::Listener { .. } => None,
        }
    }
}

/// The groups, listeners and callbacks of one side.
#[derive(Clone)]
pub(crate) struct Routes {
    by_key: BTreeMap<u64, Route>,
    groups: Vec<&'static str>,
    next_id: u64,
    max_names: usize,
    /// What is put around whoever is added.
    interceptor: Option<Arc<dyn Interceptor>>,
}

impl Routes {
    pub(crate) fn new(max_names: usize) -> Self {
        Self { by_key: BTreeMap::new(), groups: Vec::new(), next_id: 0, max_names, interceptor: None }
    }

    /// Removes all handlers, and returns them to be dropped without a lock. Names stay known, for messages.
    pub(super) fn clear(&mut self) -> Vec<Subscriber> {
        self.groups.clear();
        self.interceptor = None;
        let removed = self.by_key.values_mut().flat_map(|route| {
            let callback = route.callback.take().map(|(id, listen)| Subscriber::Listener { id, listen });
            mem::take(&mut route.subscribers).into_iter().chain(callback)
        });
        removed.collect()
    }

    /// Puts something around whoever is added from now on.
    pub(crate) fn with_interceptor(self, around: Option<Arc<dyn Interceptor>>) -> Self {
        Self { interceptor: around, ..self }
    }

    pub(super) fn interceptor(&self) -> Option<&Arc<dyn Interceptor>> {
        self.interceptor.as_ref()
    }

    /// Serves a group.
    pub(crate) fn serve(&mut self, service: Arc<dyn Service>) -> Result<(), RegistrationError> {
        let path = service.path();
        if self.groups.contains(&path) {
            return Err(RegistrationError::ServedTwice { path: path.to_owned() });
        }
        // All or nothing: every method is checked before the first is added.
        let names = service.methods().iter().map(|method| (method.key, method.path, method.name));
        let new = names.map(|(key, path, name)| self.check(key, path, name));
        let new = new.collect::<Result<Vec<bool>, _>>()?.into_iter().filter(|new| *new).count();
        self.check_capacity(new)?;
        self.groups.push(path);
        let service = match &self.interceptor {
            Some(around) => around.service(service),
            None => service,
        };
        for method in service.methods() {
            let &Method { key, path, name, kind, signature, .. } = method;
            let subscriber = Subscriber::Group { service: Arc::clone(&service), kind, signature };
            let route = self.route(key, path, name);
            route.method = Some(method);
            route.subscribers.push(subscriber);
        }
        Ok(())
    }

    /// Adds a listener, and gives the number under which it is removed.
    pub(crate) fn listen(
        &mut self,
        path: &str,
        name: &str,
        listen: Arc<dyn ListenerService>,
    ) -> Result<u64, RegistrationError> {
        let (id, listen) = (self.next_id(), self.intercept_listener(path, name, listen));
        self.checked_route(path, name)?.subscribers.push(Subscriber::Listener { id, listen });
        Ok(id)
    }

    /// Sets who answers requests. The one who did so far does no more, and is given back like a removed one.
    pub(crate) fn set_callback(
        &mut self,
        path: &str,
        name: &str,
        listen: Arc<dyn ListenerService>,
    ) -> Result<(u64, Option<Arc<dyn ListenerService>>), RegistrationError> {
        let (id, listen) = (self.next_id(), self.intercept_listener(path, name, listen));
        let before = self.checked_route(path, name)?.callback.replace((id, listen));
        Ok((id, before.map(|(_, listen)| listen)))
    }

    fn intercept_listener(&self, path: &str, name: &str, listen: Arc<dyn ListenerService>) -> Arc<dyn ListenerService> {
        match &self.interceptor {
            Some(around) => around.listen(path, name, listen),
            None => listen,
        }
    }

    /// Removes a listener or callback, and its name if nobody else hears it. What is removed is given back, to be dropped
    /// without a lock: that runs a user's code.
    #[must_use]
    pub(crate) fn remove(&mut self, key: u64, id: u64) -> Option<Subscriber> {
        let route = self.by_key.get_mut(&key)?;
        let is_it = |one: &Subscriber| matches!(one, Subscriber::Listener { id: this, .. } if *this == id);
        let listener = route.subscribers.iter().position(is_it).map(|at| route.subscribers.remove(at));
        route.subscribers.release_unused();
        let callback = route.callback.take_if(|(this, _)| *this == id);
        if route.subscribers.is_empty() && route.callback.is_none() {
            self.by_key.remove(&key);
        }
        listener.or(callback.map(|(id, listen)| Subscriber::Listener { id, listen }))
    }

    /// Who hears `key`, those of `shared` first, which everyone has, unless a group here has their path; and who answers it.
    pub(super) fn resolve(&self, shared: &Self, key: u64) -> (Box<[Subscriber]>, Option<Subscriber>) {
        let routes = || self.subscribers(shared, key);
        let subscribers = || routes().flat_map(|route| &route.subscribers);
        let callback = routes().filter_map(|route| route.callback.clone()).next_back();
        let callback = callback.map(|(id, listen)| Subscriber::Listener { id, listen });
        let answerer = callback.or_else(|| subscribers().next().cloned());
        (subscribers().filter(|one| one.accepts(Kind::Emit)).cloned().collect(), answerer)
    }

    /// Those routes of `shared` and of this that are heard under a key.
    fn subscribers<'a>(&'a self, shared: &'a Self, key: u64) -> impl DoubleEndedIterator<Item = &'a Route> {
        let (own, shared) = (self.by_key.get(&key), shared.by_key.get(&key));
        let shared = shared.filter(|route| !self.groups.contains(&route.path.as_str()));
        shared.into_iter().chain(own)
    }

    /// The signature that calls of a key have to have. There is none if anybody listens to it by name.
    pub(super) fn signature(&self, shared: &Self, key: u64) -> Option<u64> {
        let by_name = self.subscribers(shared, key).any(|route| route.callback.is_some());
        let mut signatures =
            self.subscribers(shared, key).flat_map(|route| route.subscribers.iter().map(Subscriber::signature));
        let first = signatures.next().filter(|_| !by_name)??;
        signatures.all(|other| other == Some(first)).then_some(first)
    }

    /// The signatures of all that is served here. `None` if there are none.
    pub(crate) fn announcement(&self) -> Option<Announcement> {
        let nothing = Self::new(0);
        let known = self.by_key.keys().filter_map(|key| Some((*key, self.signature(&nothing, *key)?)));
        let mut known: Vec<_> = known.collect();
        // The map's order is another one each time.
        known.sort_unstable();
        Announcement::new(known)
    }

    /// The keys of the group with this path.
    pub(super) fn keys_of(&self, path: &str) -> impl Iterator<Item = u64> {
        self.by_key.iter().filter(move |(_, route)| route.path == path).map(|(key, _)| *key)
    }

    /// Describes the method under a key that is known here.
    pub(super) fn describe(&self, key: u64) -> Option<Described> {
        let route = self.by_key.get(&key)?;
        Some(route.method.map_or_else(|| Described::Named(route.name.clone()), Described::Declared))
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn checked_route(&mut self, path: &str, name: &str) -> Result<&mut Route, RegistrationError> {
        let key = key(path, name);
        let new = self.check(key, path, name)?;
        self.check_capacity(usize::from(new))?;
        Ok(self.route(key, path, name))
    }

    /// Whether the name is new. It must not share its key with another.
    fn check(&self, key: u64, path: &str, name: &str) -> Result<bool, RegistrationError> {
        let full = full_name(path, name);
        match self.by_key.get(&key) {
            None => Ok(true),
            Some(route) if route.name == full => Ok(false),
            Some(route) => Err(RegistrationError::SameKey { first: route.name.clone(), second: full }),
        }
    }

    fn check_capacity(&self, new: usize) -> Result<(), RegistrationError> {
        let limit = self.max_names;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{HandlerSlot, Responder};
    use sockets_proto::Overflow;

    struct Group(&'static [Method]);

    impl Service for Group {
        fn path(&self) -> &'static str {
            self.0[0].path
        }

        fn methods(&self) -> &'static [Method] {
            self.0
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
            overflow: Overflow::Disconnect,
            arguments: &[],
            types: "() -> ()",
            signature: key,
        }
    }

    fn group(methods: Vec<Method>) -> Arc<dyn Service> {
        Arc::new(Group(methods.leak()))
    }

    #[test]
    fn one_path_served_twice_is_refused() {
        let mut routes = Routes::new(10);
        assert_eq!(routes.serve(group(vec![method("a", "x", 1)])), Ok(()));
        let again = routes.serve(group(vec![method("a", "y", 2)]));
        assert_eq!(again, Err(RegistrationError::ServedTwice { path: "a".into() }));
    }

    #[test]
    fn two_names_with_one_key_are_refused_by_name_and_nothing_is_added() {
        let mut routes = Routes::new(10);
        assert_eq!(routes.serve(group(vec![method("a", "x", 1)])), Ok(()));
        let same = routes.serve(group(vec![method("b", "new", 3), method("b", "y", 1)]));
        assert_eq!(same, Err(RegistrationError::SameKey { first: "a/x".into(), second: "b/y".into() }));
        assert!(routes.describe(3).is_none());
    }

    #[test]
    fn names_beyond_the_limit_are_refused() {
        let mut routes = Routes::new(1);
        let two = routes.serve(group(vec![method("a", "x", 1), method("a", "y", 2)]));
        assert_eq!(two, Err(RegistrationError::TooManyNames { limit: 1 }));
    }
}

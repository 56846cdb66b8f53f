//! The methods of a peer, which clients and sockets also have.

/// Defines the methods of a peer in an inherent implementation. The type has a method `session`
/// that returns its `&Arc<Session>`.
macro_rules! peer_methods {
    () => {
        /// Serves a group to this peer alone. If a group is served to all peers under the same
        /// path, the new group shadows that group.
        ///
        /// # Panics
        ///
        /// Panics in each of these cases:
        ///
        /// - The path is already served to this peer.
        /// - The key of a method (the hash of its path and name, see PROTOCOL.md, section 5) equals
        ///   the key of another method that is already served.
        /// - There are more names than
        ///   [`Limits::names_per_peer`](crate::Limits::names_per_peer).
        #[track_caller]
        pub fn serve(&self, service: impl crate::session::Service) {
            let service: std::sync::Arc<dyn crate::session::GroupService> = std::sync::Arc::new(service);
            // A clone is kept here, so that a refused service is not dropped under the lock.
            let served = self.session().serve(&service);
            if let Err(error) = served {
                panic!("{error}");
            }
            self.as_peer().added(|| crate::session::Registration::Group(service));
        }

        /// Returns a handle to the group under this path, for calls by name.
        ///
        /// The method creates no group, and does not check the path. If the path is invalid, the
        /// calls that use it fail.
        pub fn group(&self, path: &str) -> crate::Group {
            self.root().group(path)
        }

        /// Sends an emit to the listeners of `name` outside of any group. Waits until the outgoing
        /// queue has capacity.
        ///
        /// `args` is a tuple of the arguments. A single argument can be passed without a tuple,
        /// since `(x,)` and `x` have the same encoding.
        ///
        /// The method does not check the types of the arguments, so literals need the type that the
        /// listener takes. If the listener takes a `u32`, pass `2_u32`, since `2` is an `i32`.
        ///
        /// # Errors
        ///
        /// The method fails if the name is invalid, if the arguments cannot be encoded or are too
        /// large, or if the session has ended.
        ///
        /// # Cancel safety
        ///
        /// If the future is dropped before completion, the emit has not been sent.
        pub async fn emit(&self, name: &str, args: &(impl serde::Serialize + ?Sized)) -> Result<(), crate::CallError> {
            self.root().emit(name, args).await
        }

        /// Sends a request to the handler or listener of `name` outside of any group, and waits for
        /// the reply.
        ///
        /// `args` has the form that [`emit`](Self::emit) describes. `R` is the type that the
        /// handler returns. If the handler returns a `Result<T, E>`, `R` is the same
        /// `Result<T, E>`.
        ///
        /// # Errors
        ///
        /// See [`CallError`](crate::CallError).
        ///
        /// # Cancel safety
        ///
        /// If the future is dropped before completion, the call is cancelled. The peer stops the
        /// handler at the handler's next suspension.
        pub async fn request<R: serde::de::DeserializeOwned>(
            &self,
            name: &str,
            args: &(impl serde::Serialize + ?Sized),
        ) -> Result<R, crate::CallError> {
            self.root().request(name, args).await
        }

        /// Adds a listener for `name` outside of any group.
        ///
        /// All listeners of a name receive each emit. The first listener of the name answers each
        /// request.
        ///
        /// If the method has several arguments, `f` takes them as a tuple:
        /// `|(item, count): (String, u32)| async move { … }`. The value that `f` returns is the
        /// reply.
        ///
        /// # Panics
        ///
        /// The method panics if the name is invalid, or has the same key as another name. It also
        /// panics if the number of names exceeds
        /// [`Limits::names_per_peer`](crate::Limits::names_per_peer).
        #[track_caller]
        pub fn listen<A, F, Fut>(&self, name: &str, f: F) -> crate::Listener
        where
            A: serde::de::DeserializeOwned + Send + 'static,
            F: Fn(A) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: serde::Serialize + Send> + Send + 'static,
        {
            self.root().listen(name, f)
        }

        /// Adds a listener for `name` outside of any group, and lets this listener answer all
        /// requests.
        ///
        /// The listener replaces the function that answered the requests of `name` before.
        ///
        /// # Panics
        ///
        /// The method panics in the cases of [`listen`](Self::listen).
        #[track_caller]
        pub fn set_callback<A, F, Fut>(&self, name: &str, f: F) -> crate::Listener
        where
            A: serde::de::DeserializeOwned + Send + 'static,
            F: Fn(A) -> Fut + Send + Sync + 'static,
            Fut: Future<Output: serde::Serialize + Send> + Send + 'static,
        {
            self.root().set_callback(name, f)
        }

        /// Runs `f` once when the session has ended, for any reason. If the session has already
        /// ended, `f` runs immediately. A socket leaves its rooms before `f` runs, but
        /// [`Socket::rooms`](crate::Socket::rooms) still returns their names.
        ///
        /// The function `f` runs on the tokio runtime. If the runtime has been shut down, `f` does
        /// not run.
        ///
        /// # Panics
        ///
        /// Panics if the session has already ended and the caller is not in a tokio runtime.
        pub fn on_disconnect<F, Fut>(&self, f: F)
        where
            F: FnOnce(crate::DisconnectReason) -> Fut + Send + 'static,
            Fut: Future<Output = ()> + Send + 'static,
        {
            self.session().on_disconnect(Box::new(|reason| Box::pin(f(reason))));
        }

        /// Waits until the session has ended, and returns the reason.
        ///
        /// # Cancel safety
        ///
        /// The caller may drop the future and call the method again.
        pub async fn disconnected(&self) -> crate::DisconnectReason {
            self.session().disconnected().await
        }

        /// Returns `true` if the session has not ended and is not ending, even if the session is
        /// [detached](Self::is_away).
        pub fn is_connected(&self) -> bool {
            !self.session().is_ending()
        }

        /// Returns `true` if the session is detached. Its connection was lost, and it waits for
        /// another connection. Messages to the peer also wait for that connection. A server waits
        /// for at most [`Limits::resume_within`](crate::Limits::resume_within).
        pub fn is_away(&self) -> bool {
            !self.session().is_ending() && self.session().is_detached()
        }

        /// Returns the counts of messages and handlers that this session has dropped.
        pub fn stats(&self) -> crate::Stats {
            self.session().stats()
        }

        /// Returns the group of the methods outside of any group.
        fn root(&self) -> crate::Group {
            crate::Group::root(self.as_peer().clone())
        }
    };
}

pub(crate) use peer_methods;

//! Connections that can be cut.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Between clients and a server: what goes through it can be cut off.
pub(crate) struct Relay {
    addr: SocketAddr,
    /// Whether connections may be made; each change cuts those that there are.
    opens: watch::Sender<bool>,
    /// How many connections have been made.
    made: Arc<AtomicUsize>,
}

impl Relay {
    pub(crate) async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (opens, is_open) = watch::channel(true);
        let made = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&made);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut is_open = is_open.clone();
                if !*is_open.borrow_and_update() {
                    continue;
                }
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(server).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = is_open.changed() => {
                            // What is on its way is lost.
                            let _ = near.set_zero_linger();
                            let _ = far.set_zero_linger();
                        }
                    }
                });
            }
        });
        Self { addr, opens, made }
    }

    pub(crate) fn url(&self) -> String {
        format!("tcp://{}", self.addr)
    }

    /// Cuts all connections; others can be made at once.
    pub(crate) fn cut(&self) {
        self.opens.send_replace(true);
    }

    /// Cuts all connections, and takes no others until [`cut`](Self::cut).
    pub(crate) fn shut(&self) {
        self.opens.send_replace(false);
    }

    pub(crate) fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }
}

//! The transports of the library. For each transport, the client derives the address from the
//! server's port.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::Result;
use sockets::{ClientBuilder, Server, ServerBuilder, tls};

pub trait Transport: 'static {
    const SUBJECT: &'static str;

    fn serve(builder: ServerBuilder) -> impl Future<Output = Result<Server>> + Send;

    /// Returns the builder with the options of the transport. Also returns the URL of the server.
    fn configure(builder: ClientBuilder, server: SocketAddr) -> Result<(ClientBuilder, String)>;
}

/// Returns the path of a file for the server at this address. The file is the socket or the
/// certificate of the server.
fn file(server: SocketAddr) -> PathBuf {
    std::env::temp_dir().join(format!("sockets-bench-{}", server.port()))
}

pub struct Tcp;

impl Transport for Tcp {
    const SUBJECT: &'static str = "sockets";

    async fn serve(builder: ServerBuilder) -> Result<Server> {
        Ok(builder.bind("tcp://127.0.0.1:0").await?)
    }

    fn configure(builder: ClientBuilder, server: SocketAddr) -> Result<(ClientBuilder, String)> {
        Ok((builder, format!("tcp://{server}")))
    }
}

pub struct Unix;

impl Transport for Unix {
    const SUBJECT: &'static str = "sockets-unix";

    async fn serve(builder: ServerBuilder) -> Result<Server> {
        let server = Tcp::serve(builder).await?;
        server.bind(&format!("unix:{}", file(server.local_addr()).display())).await?;
        Ok(server)
    }

    fn configure(builder: ClientBuilder, server: SocketAddr) -> Result<(ClientBuilder, String)> {
        Ok((builder, format!("unix:{}", file(server).display())))
    }
}

pub struct Tls;

impl Transport for Tls {
    const SUBJECT: &'static str = "sockets-tls";

    async fn serve(builder: ServerBuilder) -> Result<Server> {
        let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let (certificate, key) = (own.cert.pem(), own.signing_key.serialize_pem());
        let config = tls::server_config(certificate.as_bytes(), key.as_bytes()).build()?;
        let server = builder.tls(config).bind("tls://127.0.0.1:0").await?;
        std::fs::write(file(server.local_addr()), certificate)?;
        Ok(server)
    }

    fn configure(builder: ClientBuilder, server: SocketAddr) -> Result<(ClientBuilder, String)> {
        let certificate = std::fs::read(file(server))?;
        Ok((builder.tls(tls::client_config().authorities(&certificate).build()?), format!("tls://{server}")))
    }
}

pub struct Ws;

impl Transport for Ws {
    const SUBJECT: &'static str = "sockets-ws";

    async fn serve(builder: ServerBuilder) -> Result<Server> {
        Ok(builder.bind("ws://127.0.0.1:0").await?)
    }

    fn configure(builder: ClientBuilder, server: SocketAddr) -> Result<(ClientBuilder, String)> {
        Ok((builder, format!("ws://{server}")))
    }
}

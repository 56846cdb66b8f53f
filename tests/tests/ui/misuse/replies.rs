//! Replies of types that cannot be sent.

use std::{borrow::Cow, fmt::Display, io};

type Result<T> = std::result::Result<T, String>;

#[sockets::group("Replies")]
trait Replies {
    async fn alias(&self) -> Result<u32>;
    async fn foreign_alias(&self) -> io::Result<u32>;
    async fn alias_without_arguments(&self) -> std::fmt::Result;
    async fn borrowed(&self) -> &str;
    async fn immortal(&self) -> &'static str;
    async fn borrowed_inside(&self) -> Option<&str>;
    async fn perhaps_borrowed(&self) -> Cow<'_, str>;
    async fn borrowed_error(&self) -> std::result::Result<u32, &'static str>;
    async fn opaque(&self) -> impl Display + Send;
    async fn object(&self) -> Box<dyn Display + Send>;
    async fn function(&self) -> fn(u32) -> u32;
    async fn handler(&self) -> Option<Self>
    where
        Self: Sized;
}

struct Me;

impl Replies for Me {
    async fn alias(&self) -> Result<u32> {
        Ok(1)
    }
    async fn foreign_alias(&self) -> io::Result<u32> {
        Ok(1)
    }
    async fn alias_without_arguments(&self) -> std::fmt::Result {
        Ok(())
    }
    async fn borrowed(&self) -> &str {
        "a"
    }
    async fn immortal(&self) -> &'static str {
        "a"
    }
    async fn borrowed_inside(&self) -> Option<&str> {
        None
    }
    async fn perhaps_borrowed(&self) -> Cow<'_, str> {
        Cow::Borrowed("a")
    }
    async fn borrowed_error(&self) -> std::result::Result<u32, &'static str> {
        Ok(1)
    }
    async fn opaque(&self) -> impl Display + Send {
        1
    }
    async fn object(&self) -> Box<dyn Display + Send> {
        Box::new(1)
    }
    async fn function(&self) -> fn(u32) -> u32 {
        |of| of
    }
    async fn handler(&self) -> Option<Self> {
        None
    }
}

async fn program(client: &sockets::Client) -> std::result::Result<u32, sockets::CallError> {
    client.serve(RepliesServer::new(Me));
    let stub = RepliesClient::new(client);
    println!("{} {}", stub.borrowed().await?, stub.immortal().await?);
    println!("{} {}", stub.borrowed_inside().await?.unwrap_or_default(), stub.perhaps_borrowed().await?);
    stub.alias_without_arguments().await?;
    let _ = stub.borrowed_error().await;
    let _ = (stub.opaque().await?, stub.object().await?, stub.function().await?, stub.handler().await?);
    Ok(stub.alias().await? + stub.foreign_alias().await?)
}

fn main() {}

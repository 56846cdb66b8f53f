//! Arguments that are borrowed from the received bytes.
#![allow(clippy::unwrap_used, reason = "a test that unwraps fails there")]

use std::path::Path;

use sockets::{Client, Server};

#[sockets::group("Files")]
trait Files {
    async fn name(&self, file: &Path, of: Option<&Path>) -> Option<String>;
}

struct Disk;

impl Files for Disk {
    async fn name(&self, file: &Path, of: Option<&Path>) -> Option<String> {
        let joined = of.map_or_else(|| file.to_owned(), |of| of.join(file));
        joined.to_str().map(str::to_owned)
    }
}

#[tokio::test]
async fn path_argument_is_borrowed_like_a_string() {
    let server = Server::builder().serve(FilesServer::new(Disk)).build();
    let client = Client::builder().connect_to(&server).await.unwrap();
    let files = FilesClient::new(&client);
    assert_eq!(files.name(Path::new("a/b"), None).await, Ok(Some("a/b".into())));
    assert_eq!(files.name(Path::new("b"), Some(Path::new("a"))).await, Ok(Some("a/b".into())));
}

//! Empty and malformed paths, and other arguments that `#[sockets::group(..)]` rejects.

#[sockets::group("")]
trait Empty {
    async fn ask(&self) -> u32;
}

#[sockets::group("Shop/")]
trait SlashBehind {
    async fn ask(&self) -> u32;
}

#[sockets::group("/Shop")]
trait SlashBefore {
    async fn ask(&self) -> u32;
}

#[sockets::group("Shop//Refunds")]
trait TwoSlashes {
    async fn ask(&self) -> u32;
}

#[sockets::group("Shop\nRefunds")]
trait Control {
    async fn ask(&self) -> u32;
}

#[sockets::group("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]
trait LongSegment {
    async fn ask(&self) -> u32;
}

#[sockets::group("segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment/segment")]
trait LongPath {
    async fn ask(&self) -> u32;
}

#[sockets::group("Shop", "Refunds")]
trait SecondPath {
    async fn ask(&self) -> u32;
}

#[sockets::group(Shop)]
trait NoString {
    async fn ask(&self) -> u32;
}

#[sockets::group(b"Shop")]
trait Bytes {
    async fn ask(&self) -> u32;
}

#[sockets::group(path = "Shop")]
trait NamedPath {
    async fn ask(&self) -> u32;
}

#[sockets::group("Shop", timeout = "2s")]
trait UnknownArgument {
    async fn ask(&self) -> u32;
}

#[sockets::group("Shop", crate = "sockets")]
trait QuotedCrate {
    async fn ask(&self) -> u32;
}

#[sockets::group("Shop", crate = ::sockets, crate = ::sockets)]
trait CrateTwice {
    async fn ask(&self) -> u32;
}

#[sockets::group("Shop" crate = sockets)]
trait NoComma {
    async fn ask(&self) -> u32;
}

struct Me;

impl Empty for Me {
    async fn ask(&self) -> u32 {
        1
    }
}

impl NoComma for Me {
    async fn ask(&self) -> u32 {
        1
    }
}

async fn program(client: &sockets::Client) -> Result<u32, sockets::CallError> {
    client.serve(EmptyServer::new(Me));
    client.serve(NoCommaServer::new(Me));
    let sum = EmptyClient::new(client).ask().await? + LongPathClient::new(client).ask().await?;
    Ok(sum + NoCommaClient::new(client).ask().await? + CrateTwiceClient::new(client).ask().await?)
}

fn main() {}

//! Names that a method must not have.

#[sockets::group("Names")]
trait Names {
    async fn buy(&self, item: &str) -> u32;
    async fn buy(&self, item: &str, count: u32) -> u32;
    async fn r#buy(&self) -> u32;
    async fn new(&self) -> u32;
    async fn with_timeout(&self, seconds: u32);
    #[rustfmt::skip]
    async fn a_name_that_is_longer_than_the_limit_for_names_on_the_wire_which_is_one_hundred_and_twenty_eight_bytes_and_that_should_be_enough_(&self);
}

struct Me;

impl Names for Me {
    async fn buy(&self, item: &str) -> u32 {
        item.len() as u32
    }
    async fn new(&self) -> u32 {
        1
    }
    async fn with_timeout(&self, seconds: u32) {
        println!("{seconds}");
    }
    async fn a_name_that_is_longer_than_the_limit_for_names_on_the_wire_which_is_one_hundred_and_twenty_eight_bytes_and_that_should_be_enough_(
        &self,
    ) {
    }
}

async fn program(client: &sockets::Client) -> Result<u32, sockets::CallError> {
    client.serve(NamesServer::new(Me));
    let stub = NamesClient::new(client).with_timeout(std::time::Duration::from_secs(1));
    stub.buy("sword").await
}

fn main() {}

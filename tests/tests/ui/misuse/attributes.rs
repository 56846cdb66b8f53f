//! Unknown attributes and unknown arguments. The errors list the legal ones.

#[sockets::group("Attributes")]
trait Attributes {
    #[emmit]
    async fn mistyped(&self, item: &str);
    #[subscribe(buffer = 3)]
    async fn unknown(&self) -> u32;
    #[request(deadline = "2s")]
    async fn unknown_argument(&self) -> u32;
    #[request(2)]
    async fn not_even_a_name(&self) -> u32;
    #[request(timeout)]
    async fn no_value(&self) -> u32;
    #[request(timeout = 2)]
    async fn no_string(&self) -> u32;
    #[request(timeout = "2 seconds")]
    async fn no_duration(&self) -> u32;
    #[request(timeout = "0s")]
    async fn zero(&self) -> u32;
    #[request(timeout = "9999999999999999999h")]
    async fn beyond_time(&self) -> u32;
    #[request(timeout = "1s", timeout = "2s")]
    async fn twice(&self) -> u32;
    #[request(timeout = "1s")]
    #[request(timeout = "2s")]
    async fn two_attributes(&self) -> u32;
    #[request = "2s"]
    async fn equals(&self) -> u32;
    #[request(timeout "2s")]
    async fn malformed(&self) -> u32;
    #[cfg_attr(all(), emit)]
    async fn conditional_kind(&self);
    #[cfg_attr(all(), inline, cfg(all()))]
    async fn hidden_condition(&self) -> u32;
    #[sockets::request(timeout = "2s")]
    async fn with_its_path(&self) -> u32;
}

struct Me;

impl Attributes for Me {
    async fn mistyped(&self, item: &str) {
        println!("{item}");
    }
    async fn unknown(&self) -> u32 {
        1
    }
    async fn unknown_argument(&self) -> u32 {
        1
    }
    async fn not_even_a_name(&self) -> u32 {
        1
    }
    async fn no_value(&self) -> u32 {
        1
    }
    async fn no_string(&self) -> u32 {
        1
    }
    async fn no_duration(&self) -> u32 {
        1
    }
    async fn zero(&self) -> u32 {
        1
    }
    async fn beyond_time(&self) -> u32 {
        1
    }
    async fn twice(&self) -> u32 {
        1
    }
    async fn two_attributes(&self) -> u32 {
        1
    }
    async fn equals(&self) -> u32 {
        1
    }
    async fn malformed(&self) -> u32 {
        1
    }
    async fn conditional_kind(&self) {}
    async fn hidden_condition(&self) -> u32 {
        1
    }
    async fn with_its_path(&self) -> u32 {
        1
    }
}

async fn program(client: &sockets::Client) -> Result<u32, sockets::CallError> {
    client.serve(AttributesServer::new(Me));
    let stub = AttributesClient::new(client);
    stub.mistyped("a").await?;
    stub.conditional_kind().await?;
    Ok(stub.unknown().await? + stub.zero().await? + stub.twice().await? + stub.hidden_condition().await?)
}

fn main() {}

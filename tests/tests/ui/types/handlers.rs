//! Handlers with a missing method, an unknown method, and other signatures than in the trait.

#[sockets::group("Shop")]
trait Shop {
    async fn price(&self, item: &str) -> u32;
    async fn buy(&self, item: &str, count: u32) -> Result<u32, String>;
}

struct Missing;

impl Shop for Missing {
    async fn price(&self, _: &str) -> u32 {
        1
    }
}

struct Unknown;

impl Shop for Unknown {
    async fn price(&self, _: &str) -> u32 {
        1
    }
    async fn buy(&self, _: &str, count: u32) -> Result<u32, String> {
        Ok(count)
    }
    async fn sell(&self, _: &str) {}
}

struct Other;

impl Shop for Other {
    async fn price(&self, _: String) -> u32 {
        1
    }
    async fn buy(&self, _: &str) -> Result<u32, String> {
        Ok(1)
    }
}

struct OtherReply;

impl Shop for OtherReply {
    async fn price(&self, _: &str) -> u64 {
        1
    }
    fn buy(&self, _: &str, count: u32) -> Result<u32, String> {
        Ok(count)
    }
}

fn main() {}

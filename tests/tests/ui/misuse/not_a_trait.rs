//! A group must be a trait.

#[sockets::group("Struct")]
pub struct Shop;

#[sockets::group("Impl")]
impl Shop {
    async fn buy(&self) {}
}

#[sockets::group("Function")]
async fn buy() {}

#[sockets::group("Module")]
mod shop {}

fn main() {}

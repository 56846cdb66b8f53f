//! Wrong uses of `detached`, with which handlers run to completion.

#[sockets::group("A")]
trait A {
    #[request(detached, idempotent)]
    async fn repeated(&self);
    #[request(idempotent, detached)]
    async fn repeated_the_other_way(&self);
    #[request(detached = true)]
    async fn with_a_value(&self);
    #[emit(detached, detached)]
    async fn twice(&self);
}

fn main() {}

//! Wrong uses of `idempotent` and `volatile`, which concern broken connections.

#[sockets::group("A")]
trait A {
    #[request(idempotent = true)]
    async fn with_a_value(&self);
    #[request(idempotent, idempotent)]
    async fn twice(&self);
    #[request(volatile)]
    async fn volatile_request(&self);
    #[emit(idempotent)]
    async fn idempotent_emit(&self);
    #[emit(volatile = "yes")]
    async fn volatile_with_a_value(&self);
    #[emit(volatile, volatile)]
    async fn volatile_twice(&self);
    #[emit(volatile, overflow = "drop_oldest")]
    async fn both(&self);
    #[emit(overflow = "drop_oldest", volatile)]
    async fn both_the_other_way(&self);
}

fn main() {}

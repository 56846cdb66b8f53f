//! Wrong uses of `latest` and its key.

#[sockets::group("Latest")]
trait Latest {
    #[emit(latest, key = "plyer")]
    async fn unknown_argument(&self, player: u32, x: f32);
    #[emit(latest, key = "player")]
    async fn no_argument(&self);
    #[emit(latest, key = "player, x, player")]
    async fn argument_twice(&self, player: u32, x: f32);
    #[emit(latest, key = "")]
    async fn empty_key(&self, player: u32);
    #[emit(latest, key = player)]
    async fn key_without_quotes(&self, player: u32);
    #[emit(latest, key = "player.id")]
    async fn path(&self, player: u32);
    #[emit(latest, key = "player", key = "x")]
    async fn key_twice(&self, player: u32, x: f32);
    #[emit(key = "player")]
    async fn key_alone(&self, player: u32);
    #[emit(latest, latest)]
    async fn latest_twice(&self);
    #[emit(latest = "player")]
    async fn latest_with_a_value(&self, player: u32);
    #[emit(latest, overflow = "drop_oldest")]
    async fn with_policy(&self);
    #[emit(overflow = "drop_oldest", latest)]
    async fn with_policy_before(&self);
    #[emit(overflow = "latest")]
    async fn as_policy(&self);
    #[request(latest)]
    async fn request(&self) -> u32;
    #[request(key = "player")]
    async fn request_with_key(&self, player: u32) -> u32;
}

fn main() {}

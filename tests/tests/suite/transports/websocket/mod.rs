//! WebSockets. The tests cover the upgrade from HTTP, allowed origins, and the rules of RFC 6455.

mod axum;
mod messages;
mod misuse;
mod upgrade;

//! Properties of the wire, of the handshake's bytes, and of two cores that talk to each other.

#[cfg(test)]
mod core_rules;
#[cfg(test)]
mod frames;
#[cfg(test)]
mod overflow;
pub(crate) mod sim;
#[cfg(test)]
mod two_cores;

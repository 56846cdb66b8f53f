//! Connecting and reconnecting: hooks, identities, refusals, delays, time limits and admission.

mod admission;
mod backoff;
mod builders;
mod connected_hook;
mod identity;
mod refusals;
mod remedies;
mod time_limits;

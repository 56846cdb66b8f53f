//! Properties of frames, of single rules of the core, and of two cores that exchange frames.

mod core_rules;
mod frames;
mod latest;
mod overflow;
mod resumption;
mod turn_results;
mod two_cores;

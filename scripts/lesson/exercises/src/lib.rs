//! Ten exercises, from "prune the dead" to "find the lost wake-up". Read a file, run its test (`cargo test e01`), mend the
//! file, run the test again. If a function takes a `worst_moment`, leave the call where it stands, between the lines:
//! there the test does what another thread might do just then. So each test fails every time, and not one time in a
//! thousand.

pub mod e01_prune_the_dead;
pub mod e02_never_wait;
pub mod e03_look_and_act;
pub mod e04_two_locks;
pub mod e05_tell_the_gap;
pub mod e06_ring_the_bell;
pub mod e07_bound_the_head;
pub mod e08_one_deadline;
pub mod e09_stop_everyone;
pub mod e10_lost_wake_up;

#[cfg(test)]
mod tests;

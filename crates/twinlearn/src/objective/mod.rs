//! What training minimises.

mod barlow_twins;

pub(crate) use barlow_twins::{BarlowTwins, Form, Loss};

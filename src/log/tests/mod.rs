//! Tests of the log on scripted stores.

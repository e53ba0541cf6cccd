//! The examples stand in the folders beside this file, by language.

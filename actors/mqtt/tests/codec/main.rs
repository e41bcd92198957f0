//! The codec as a whole: what is written is read again, whatever the bytes and wherever they are cut, and
//! another codec agrees where it is right.

mod packets;
mod robustness;
mod round_trip;
mod second_opinion;

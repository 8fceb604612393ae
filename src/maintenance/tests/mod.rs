mod dead;
mod feed;

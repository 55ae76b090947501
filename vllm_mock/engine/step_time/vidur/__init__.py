"""Step times of vidur (github.com/microsoft/vidur): its predictor, trained once on profiles of a GPU."""

// The explorer opens with these views; each is a file of its own.

all("#ui-explorer").forEach((box) => explorer(box, [picturesView, boardView, closerView, gradCamView, brushView, besideView, sandboxView]));

// The explorer opens with these views; each is a file of its own.

import { all } from "./elements.js";
import { besideView } from "./explorer-beside.js";
import { boardView } from "./explorer-board.js";
import { brushView } from "./explorer-brush.js";
import { closerView } from "./explorer-closer.js";
import { explorer } from "./explorer-core.js";
import { gradCamView } from "./explorer-gradcam.js";
import { picturesView } from "./explorer-pictures.js";
import { sandboxView } from "./explorer-sandbox.js";

all("#ui-explorer").forEach((box) => explorer(box, [picturesView, boardView, closerView, gradCamView, brushView, besideView, sandboxView]));

"""Node-RED with ONNX Runtime's own binding for Node.js: the flow, its settings, and how they are installed and started."""

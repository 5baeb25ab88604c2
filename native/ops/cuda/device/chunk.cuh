// How many keys a block sorts at a time. Read by host and device code alike.
#pragma once

constexpr int kChunk = 1024;

-- Neovim with CodeCompanion talks to `port42 acp`: asks, accepts an edit, and resumes the session in another chat.
-- CLIENTS is the folder of the plugins, PORT42 the command as JSON. It prints what the person would see.
for _, plugin in ipairs({ "plenary.nvim", "codecompanion.nvim" }) do
  vim.opt.rtp:prepend(vim.env.CLIENTS .. "/" .. plugin)
end
vim.o.swapfile = false

require("codecompanion").setup({
  adapters = {
    acp = {
      port42 = function()
        return require("codecompanion.adapters").extend("gemini_cli", {
          name = "port42",
          formatted_name = "Port42",
          commands = { default = vim.json.decode(vim.env.PORT42) },
          defaults = { timeout = 60000 },
        })
      end,
    },
  },
  interactions = { chat = { adapter = "port42" } },
})

local function lines(chat)
  return vim.api.nvim_buf_get_lines(chat.bufnr, 0, -1, false)
end

local function shown(chat, words)
  return vim.wait(60000, function()
    return table.concat(lines(chat), "\n"):find(words, 1, true) ~= nil
  end, 20)
end

local function ask_and_accept(chat, text)
  local ended = false
  vim.api.nvim_create_autocmd("User", {
    pattern = "CodeCompanionRequestFinished",
    once = true,
    callback = function() ended = true end,
  })
  chat:add_buf_message({ role = "user", content = text })
  chat:submit()
  assert(shown(chat, "+rye = 10"), "the edit that is asked for was not shown")
  vim.api.nvim_set_current_buf(chat.bufnr)
  vim.api.nvim_feedkeys("g2", "x", false)
  assert(vim.wait(60000, function() return ended end, 20), "the turn did not end")
end

local function print_chat(name, chat)
  local seen = { chat = name, session = chat.acp_connection.session_id, title = chat.title, lines = lines(chat) }
  io.stdout:write(vim.json.encode(seen) .. "\n")
end

local chat = require("codecompanion").chat()
assert(vim.wait(60000, function() return chat.acp_connection and chat.acp_connection:is_ready() end, 20))
ask_and_accept(chat, "edit allow_once reject_once")
print_chat("first", chat)

vim.ui.select = function(items, _, choose) choose(items[1], 1) end
local other = require("codecompanion").chat()
assert(vim.wait(60000, function() return other.acp_connection and other.acp_connection:is_ready() end, 20))
local resume = require("codecompanion.interactions.chat.slash_commands.builtin.resume")
resume.new({ Chat = other, config = { opts = {} }, context = {} }):execute()
print_chat("resumed", other)
ask_and_accept(other, "edit allow_once")
print_chat("continued", other)
vim.cmd("qa!")
